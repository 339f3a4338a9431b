//! The regular expressions that applications build from a list of tags, read back as that list.

/// What a pattern over a comma-separated field of tags means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TagPattern {
    /// It matches every value.
    All,
    /// It was built from these tags.
    Tags(Vec<String>),
    /// Anything else.
    Other,
}

/// Whether a pattern matches every value.
pub(super) fn matches_all(pattern: &str) -> bool {
    matches!(pattern, "" | "^" | ".*" | "^.*" | ".*$" | "^.*$")
}

impl TagPattern {
    /// Reads the forms in which tags are known to be written:
    ///
    /// - Magento: `((^|,)cat_p_1(,|$))|((^|,)cat_p(,|$))`
    /// - API Platform 2: `(^|\,)/books/1($|\,)`, several as Magento; 3: `(/books/1|/books/2)($|\,)`
    /// - FOSHttpCache 2 and later: `(^|,)(one|two)(,|$)`; 1: `(one|two)(,.+)?$`
    ///
    /// What stands for the end of a tag is what tells these from other patterns. Where a form leaves the
    /// beginning open it would match the ends of longer tags too; its authors meant the tags.
    pub(super) fn read(pattern: &str) -> Self {
        if matches_all(pattern) {
            return TagPattern::All;
        }
        let normal = pattern.replace("\\,", ",").replace("($|,)", "(,|$)").replace("(,.+)?$", "(,|$)");
        let mut tags = Vec::new();
        for alternative in alternatives(&normal) {
            let inner = unwrap_parentheses(alternative);
            let Some(inner) = inner.strip_suffix("(,|$)") else { return TagPattern::Other };
            let inner = inner.strip_prefix("(^|,)").unwrap_or(inner);
            for tag in alternatives(unwrap_parentheses(inner)) {
                match literal(tag) {
                    Some(tag) => tags.push(tag),
                    None => return TagPattern::Other,
                }
            }
        }
        TagPattern::Tags(tags)
    }
}

/// The parts between bars that stand in no parenthesis.
fn alternatives(pattern: &str) -> Vec<&str> {
    let (mut parts, mut start, mut depth, mut escaped) = (Vec::new(), 0, 0_i32, false);
    for (index, byte) in pattern.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'(' => depth += 1,
            b')' => depth -= 1,
            b'|' if depth == 0 => {
                parts.push(&pattern[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(&pattern[start..]);
    parts
}

/// Without the parentheses around it, if the first closes with the last.
fn unwrap_parentheses(pattern: &str) -> &str {
    let Some(inner) = pattern.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) else {
        return pattern;
    };
    let (mut depth, mut escaped) = (0_i32, false);
    for byte in inner.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'(' => depth += 1,
            b')' => depth -= 1,
            _ => {}
        }
        if depth < 0 {
            return pattern;
        }
    }
    // An escaped last parenthesis closes nothing.
    if depth == 0 && !escaped { inner } else { pattern }
}

/// The text that a pattern without special characters matches.
fn literal(pattern: &str) -> Option<String> {
    let mut text = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => text.push(chars.next().filter(|escaped| !escaped.is_alphanumeric())?),
            '.' | '*' | '+' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '|' | '^' | '$' | ',' => return None,
            plain => text.push(plain),
        }
    }
    (!text.is_empty()).then_some(text)
}
