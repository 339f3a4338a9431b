//! Claims about expressions.

#[test]
fn placeholder() {}
