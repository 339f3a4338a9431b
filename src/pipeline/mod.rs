//! The whole journey of a request and every branch on one screen.
