//! The operator's HTTP interface on its own listener: metrics, health, invalidation, inspection.
