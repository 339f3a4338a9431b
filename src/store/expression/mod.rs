//! Expressions over stored responses: what a ban says, parsed and compiled once.
//!
//! ```text
//! host == "example.com" && (path ~ "^/blog/" || tag == "blog") && !(status == 200)
//! resp.field("content-type") ~ "image/" && size > 1MiB && age >= 1d
//! req.http.host == example.com && req.url ~ ^/a && obj.http.x-foo !~ "bar"
//! ```
//! The third line is Varnish's way of saying such things, which is understood too.
//!
//! Fields: `host`, `path`, `query` (without the `?`), `url` (path and query), `status`, `size` (of the body,
//! in bytes), `age`, `tag`, `resp.field("name")`. Operators: `==` and `!=` for all; `~` and `!~` (a regular
//! expression) for text; `<`, `<=`, `>`, `>=` for numbers; `!`, `&&`, `||` and parentheses, binding in this
//! order. `==` and `~` hold if they hold for any tag or any line of the field; `!=` and `!~` are their
//! opposites, and so hold where there is none.
//!
//! Time is bounded: regular expressions are matched in time linear in the text (no look-around, no
//! back-references), and length, depth, number and size are limited.

mod error;
mod lower;
mod normal;
mod parse;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use regex::bytes::Regex;

use crate::clock::Moment;
use crate::store::ledger::Subject;
use crate::store::tags::TagDigest;

pub use error::ExpressionError;
pub use lower::Lowered;

/// How long and how deep an expression may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpressionLimits {
    /// Bytes of text.
    pub length: usize,
    /// Parentheses and `!` within each other.
    pub depth: usize,
    /// Comparisons.
    pub tests: usize,
    /// Bytes that the compiled form of one regular expression may take.
    pub regex_size: usize,
    /// Bytes that the whole may take, compiled.
    pub compiled: usize,
}

impl Default for ExpressionLimits {
    fn default() -> Self {
        ExpressionLimits {
            length: 8 * 1024,
            depth: 32,
            tests: 256,
            regex_size: 256 * 1024,
            compiled: 1 << 20,
        }
    }
}

/// A compiled expression.
#[derive(Clone)]
pub struct Expression {
    root: Node,
    /// The normal form: parsing it gives the same expression again.
    source: Box<str>,
    lowered: Option<Lowered>,
    required_host: Option<Box<str>>,
    depends_on_age: bool,
    goes_by_query: bool,
}

#[derive(Clone)]
enum Node {
    Any(Vec<Node>),
    All(Vec<Node>),
    Not(Box<Node>),
    Text { field: TextField, is: bool, pattern: Pattern },
    Number { field: NumberField, relation: Relation, value: u64 },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum TextField {
    Host,
    Path,
    Query,
    Url,
    Tag,
    /// A response field, its name in lower case.
    Response(Box<str>),
}

#[derive(Clone)]
enum Pattern {
    /// The text, and its digest where it is a tag.
    Equal(Box<str>, TagDigest),
    Match {
        source: Box<str>,
        regex: Regex,
        /// Bytes of its compiled form, about.
        weight: usize,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NumberField {
    Status,
    /// In milliseconds.
    Age,
    /// In bytes.
    Size,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Expression {
    /// Parses and compiles an expression.
    ///
    /// # Errors
    /// The text is not an expression, or is larger than the limits; the error says where and why.
    pub fn parse(source: &str, limits: &ExpressionLimits) -> Result<Arc<Self>, ExpressionError> {
        let root = parse::parse(source, limits)?;
        let expression = Expression {
            source: root.to_string().into(),
            lowered: lower::lower(&root),
            required_host: lower::required_host(&root),
            depends_on_age: root.depends_on_age(),
            goes_by_query: root.goes_by_query(),
            root,
        };
        let weight = expression.weight();
        if weight > limits.compiled {
            let message = format!("the expression takes {weight} bytes, compiled");
            return Err(ExpressionError::new("", 0..0, message).too_large(limits.compiled, "bytes"));
        }
        Ok(Arc::new(expression))
    }

    /// Whether it holds for a response. `at` is when the expression was said: `age` means the age then.
    pub fn matches(&self, subject: &dyn Subject, at: Moment) -> bool {
        self.root.matches(subject, at)
    }

    /// Its normal form.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The same thing as a selector that there is an index for, if there is one.
    pub fn lowered(&self) -> Option<&Lowered> {
        self.lowered.as_ref()
    }

    /// The host without which it cannot hold.
    pub fn required_host(&self) -> Option<&str> {
        self.required_host.as_deref()
    }

    /// Whether it says something else when it is said again later.
    pub fn depends_on_age(&self) -> bool {
        self.depends_on_age
    }

    /// Whether it may hold for one query of a page and not for another.
    pub fn goes_by_query(&self) -> bool {
        self.goes_by_query
    }

    /// Bytes it takes, about; the caches of its regular expressions included.
    pub fn weight(&self) -> usize {
        size_of::<Self>() + 2 * self.source.len() + self.root.weight()
    }
}

impl Node {
    fn matches(&self, subject: &dyn Subject, at: Moment) -> bool {
        match self {
            Node::Any(nodes) => nodes.iter().any(|node| node.matches(subject, at)),
            Node::All(nodes) => nodes.iter().all(|node| node.matches(subject, at)),
            Node::Not(node) => !node.matches(subject, at),
            Node::Text { field, is, pattern } => field.matches(pattern, subject) == *is,
            Node::Number { field, relation, value } => relation.holds(field.of(subject, at), *value),
        }
    }

    /// The same with the opposite meaning. Only conjunctions and disjunctions need a `!` for it.
    fn negated(self) -> Self {
        match self {
            Node::Not(node) => *node,
            Node::Text { field, is, pattern } => Node::Text { field, is: !is, pattern },
            Node::Number { field, relation, value } => {
                Node::Number { field, relation: relation.opposite(), value }
            }
            several => Node::Not(Box::new(several)),
        }
    }

    fn depends_on_age(&self) -> bool {
        match self {
            Node::Any(nodes) | Node::All(nodes) => nodes.iter().any(Node::depends_on_age),
            Node::Not(node) => node.depends_on_age(),
            Node::Text { .. } => false,
            Node::Number { field, .. } => *field == NumberField::Age,
        }
    }

    fn goes_by_query(&self) -> bool {
        match self {
            Node::Any(nodes) | Node::All(nodes) => nodes.iter().any(Node::goes_by_query),
            Node::Not(node) => node.goes_by_query(),
            Node::Text { field, pattern, .. } => match field {
                TextField::Query => true,
                // A beginning of the path says nothing of what comes behind it.
                TextField::Url => !lower::is_of_the_path(pattern),
                TextField::Host | TextField::Path | TextField::Tag | TextField::Response(_) => false,
            },
            Node::Number { .. } => false,
        }
    }

    fn weight(&self) -> usize {
        size_of::<Self>()
            + match self {
                Node::Any(nodes) | Node::All(nodes) => nodes.iter().map(Node::weight).sum(),
                Node::Not(node) => node.weight(),
                Node::Text { pattern: Pattern::Match { weight, .. }, .. } => *weight,
                Node::Text { .. } | Node::Number { .. } => 0,
            }
    }
}

impl TextField {
    fn matches(&self, pattern: &Pattern, subject: &dyn Subject) -> bool {
        match self {
            TextField::Host => pattern.matches(subject.host().as_bytes()),
            TextField::Path => pattern.matches(split_target(subject.target()).0),
            TextField::Query => pattern.matches(split_target(subject.target()).1),
            TextField::Url => pattern.matches(subject.target()),
            TextField::Response(name) => subject.any_field(name, &mut |value| pattern.matches(value)),
            TextField::Tag => match pattern {
                Pattern::Equal(_, digest) => {
                    let tags = subject.tags();
                    tags.first() == Some(&TagDigest::ANY) || tags.contains(digest)
                }
                Pattern::Match { .. } => subject.any_tag(&mut |tag| pattern.matches(tag)),
            },
        }
    }
}

/// Path and query, the latter without the question mark and empty where there is none.
fn split_target(target: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b'?', target) {
        Some(mark) => (&target[..mark], &target[mark + 1..]),
        None => (target, &[]),
    }
}

impl Pattern {
    fn matches(&self, text: &[u8]) -> bool {
        match self {
            Pattern::Equal(expected, _) => expected.as_bytes() == text,
            Pattern::Match { regex, .. } => regex.is_match(text),
        }
    }
}

impl NumberField {
    fn of(self, subject: &dyn Subject, at: Moment) -> u64 {
        match self {
            NumberField::Status => subject.status().into(),
            NumberField::Size => subject.size(),
            NumberField::Age => u64::try_from(subject.age_at(at).as_millis()).unwrap_or(u64::MAX),
        }
    }
}

impl Relation {
    fn opposite(self) -> Self {
        match self {
            Relation::Equal => Relation::NotEqual,
            Relation::NotEqual => Relation::Equal,
            Relation::Less => Relation::GreaterOrEqual,
            Relation::LessOrEqual => Relation::Greater,
            Relation::Greater => Relation::LessOrEqual,
            Relation::GreaterOrEqual => Relation::Less,
        }
    }

    fn holds(self, left: u64, right: u64) -> bool {
        match self {
            Relation::Equal => left == right,
            Relation::NotEqual => left != right,
            Relation::Less => left < right,
            Relation::LessOrEqual => left <= right,
            Relation::Greater => left > right,
            Relation::GreaterOrEqual => left >= right,
        }
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expression({})", self.source)
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Node::Any(nodes) => join(f, nodes, " || "),
            Node::All(nodes) => join(f, nodes, " && "),
            Node::Not(node) => write!(f, "!({node})"),
            Node::Text { field, is, pattern } => {
                let (operator, text) = match (pattern, is) {
                    (Pattern::Equal(text, _), true) => ("==", text),
                    (Pattern::Equal(text, _), false) => ("!=", text),
                    (Pattern::Match { source, .. }, true) => ("~", source),
                    (Pattern::Match { source, .. }, false) => ("!~", source),
                };
                write!(f, "{field} {operator} {}", Quoted(text))
            }
            Node::Number { field, relation, value } => match field {
                NumberField::Status => write!(f, "status {relation} {value}"),
                NumberField::Size => write!(f, "size {relation} {value}"),
                NumberField::Age => {
                    let age = humantime::format_duration(Duration::from_millis(*value)).to_string();
                    write!(f, "age {relation} {}", age.replace(' ', ""))
                }
            },
        }
    }
}

/// Writes the parts of a conjunction or disjunction. Only a disjunction in a conjunction needs parentheses,
/// and more would make the normal form deeper than what was written.
fn join(f: &mut fmt::Formatter<'_>, nodes: &[Node], operator: &str) -> fmt::Result {
    for (index, node) in nodes.iter().enumerate() {
        if index > 0 {
            f.write_str(operator)?;
        }
        match node {
            Node::Any(_) => write!(f, "({node})")?,
            _ => write!(f, "{node}")?,
        }
    }
    Ok(())
}

impl fmt::Display for TextField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TextField::Host => f.write_str("host"),
            TextField::Path => f.write_str("path"),
            TextField::Query => f.write_str("query"),
            TextField::Url => f.write_str("url"),
            TextField::Tag => f.write_str("tag"),
            TextField::Response(name) => write!(f, "resp.field({})", Quoted(name)),
        }
    }
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Relation::Equal => "==",
            Relation::NotEqual => "!=",
            Relation::Less => "<",
            Relation::LessOrEqual => "<=",
            Relation::Greater => ">",
            Relation::GreaterOrEqual => ">=",
        })
    }
}

/// Text as an expression's string literal.
pub struct Quoted<'a>(pub &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        let mut chars = self.0.chars().peekable();
        while let Some(char) = chars.next() {
            // A backslash is itself, except where it would be read as one that escapes.
            let escapes = char == '"' || char == '\\' && matches!(chars.peek(), None | Some('"' | '\\'));
            if escapes {
                f.write_str("\\")?;
            }
            write!(f, "{char}")?;
        }
        f.write_str("\"")
    }
}

#[cfg(test)]
mod tests;
