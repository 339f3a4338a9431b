//! What the operator wrote (TOML) becomes checked settings; all problems are reported at once, with line and caret.
