//! Recognises the purge requests that applications already send.
