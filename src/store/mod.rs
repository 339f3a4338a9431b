//! What is kept: entries, bodies, variants, tags, the ledger's judgement, memory.

pub mod expression;
pub mod ledger;
pub mod tags;
