//! HTTP caching itself: pure functions; no I/O, no clock, no async, nothing of ours imported but the message values.
