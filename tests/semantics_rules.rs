//! The rules of HTTP caching as tables: one file per section of the standard.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may say "this cannot fail"

#[path = "semantics_support/mod.rs"]
mod support;

#[path = "semantics_rules/conditional.rs"]
mod conditional;
#[path = "semantics_rules/directives.rs"]
mod directives;
#[path = "semantics_rules/fields.rs"]
mod fields;
#[path = "semantics_rules/freshness.rs"]
mod freshness;
#[path = "semantics_rules/invalidation.rs"]
mod invalidation;
#[path = "semantics_rules/range.rs"]
mod range;
#[path = "semantics_rules/reuse.rs"]
mod reuse;
#[path = "semantics_rules/sharing.rs"]
mod sharing;
#[path = "semantics_rules/staleness.rs"]
mod staleness;
#[path = "semantics_rules/status.rs"]
mod status;
#[path = "semantics_rules/storability.rs"]
mod storability;
#[path = "semantics_rules/targeted.rs"]
mod targeted;
#[path = "semantics_rules/validation.rs"]
mod validation;
#[path = "semantics_rules/vary.rs"]
mod vary;
