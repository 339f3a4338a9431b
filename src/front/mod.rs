//! Admits a request: normal form of host, path and query, hop-by-hop fields, Via and Forwarded.

pub mod purge_dialects;
