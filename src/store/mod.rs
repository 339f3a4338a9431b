//! What is kept: entries, bodies, variants, tags, the ledger's judgement, memory.
