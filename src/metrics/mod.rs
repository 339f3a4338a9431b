//! Every metric declared once; the access log; events that emit metric and log line together.
