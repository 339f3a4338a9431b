//! From text to a compiled expression: recursive descent, one token ahead, with a bounded depth.

use std::ops::Range;
use std::time::Duration;

use regex::bytes::{Regex, RegexBuilder};

use super::{ExpressionError, ExpressionLimits, Node, NumberField, Pattern, Relation, TextField, normal};
use crate::store::tags::TagDigest;

const FIELDS: &str = "host, path, query, url, status, size, age, tag or resp.field(\"name\")";

/// All names of fields, for suggestions.
const NAMES: [&str; 15] = [
    "host",
    "path",
    "query",
    "url",
    "status",
    "size",
    "age",
    "tag",
    "resp.field",
    "req.http.host",
    "req.url",
    "obj.status",
    "obj.age",
    "obj.http",
    "field",
];

pub(super) fn parse(source: &str, limits: &ExpressionLimits) -> Result<Node, ExpressionError> {
    if source.len() > limits.length {
        let message = format!("the expression is {} bytes long", source.len());
        return Err(ExpressionError::new("", 0..0, message).too_large(limits.length, "bytes"));
    }
    let mut parser = Parser { source, at: 0, depth: 0, tests: 0, limits };
    let root = parser.any()?;
    match parser.peek() {
        None => Ok(root),
        Some(b')') => Err(parser.error_here("this parenthesis closes nothing")),
        Some(_) => Err(parser
            .error_here("the expression goes on where it should end")
            .with_help("expected &&, || or the end")),
    }
}

struct Parser<'a> {
    source: &'a str,
    at: usize,
    depth: usize,
    tests: usize,
    limits: &'a ExpressionLimits,
}

enum Field {
    Text(TextField),
    Number(NumberField),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operator {
    Relation(Relation),
    Match,
    NoMatch,
}

type Parsed<T> = Result<T, ExpressionError>;

impl<'a> Parser<'a> {
    /// `all { "||" all }`
    fn any(&mut self) -> Parsed<Node> {
        let mut nodes = vec![self.all()?];
        while self.take("||") {
            nodes.push(self.all()?);
        }
        Ok(flatten(nodes, Node::Any, |node| match node {
            Node::Any(nodes) => Ok(nodes),
            node => Err(node),
        }))
    }

    /// `one { "&&" one }`
    fn all(&mut self) -> Parsed<Node> {
        let mut nodes = vec![self.one()?];
        while self.take("&&") {
            nodes.push(self.one()?);
        }
        Ok(flatten(nodes, Node::All, |node| match node {
            Node::All(nodes) => Ok(nodes),
            node => Err(node),
        }))
    }

    /// `"!" one | "(" any ")" | field operator value`
    fn one(&mut self) -> Parsed<Node> {
        match self.peek() {
            Some(b'!') => {
                self.descend()?;
                let node = self.one()?;
                self.depth -= 1;
                Ok(node.negated())
            }
            Some(b'(') => {
                let opened = self.at;
                self.descend()?;
                let node = self.any()?;
                if !self.take(")") {
                    let message = "this parenthesis is not closed";
                    return Err(ExpressionError::new(self.source, opened..opened + 1, message)
                        .with_help("expected ) after &&, || or a value"));
                }
                self.depth -= 1;
                Ok(node)
            }
            _ => self.test(),
        }
    }

    /// Steps over one byte that opens something.
    fn descend(&mut self) -> Parsed<()> {
        if self.depth >= self.limits.depth {
            let message = format!("more than {} levels within each other", self.limits.depth);
            return Err(self.error_here(message).too_large(self.limits.depth, "levels"));
        }
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    fn test(&mut self) -> Parsed<Node> {
        let started = self.at;
        if self.tests >= self.limits.tests {
            let message = format!("more than {} comparisons", self.limits.tests);
            return Err(self.error_here(message).too_large(self.limits.tests, "comparisons"));
        }
        self.tests += 1;
        let field = self.field()?;
        let (operator, operator_at) = self.operator()?;
        let (value, value_at) = self.value()?;
        match field {
            Field::Text(field) => {
                let (is, pattern) = match operator {
                    Operator::Relation(Relation::Equal) => (true, self.equal(&field, value, value_at)?),
                    Operator::Relation(Relation::NotEqual) => (false, self.equal(&field, value, value_at)?),
                    Operator::Match => (true, self.regex(&field, value, value_at)?),
                    Operator::NoMatch => (false, self.regex(&field, value, value_at)?),
                    Operator::Relation(_) => {
                        return Err(ExpressionError::new(
                            self.source,
                            operator_at,
                            format!("{field} is text"),
                        )
                        .with_help("expected ==, !=, ~ or !~"));
                    }
                };
                Ok(Node::Text { field, is, pattern })
            }
            Field::Number(field) => {
                let Operator::Relation(relation) = operator else {
                    let name = &self.source[started..].split(['~', '!', ' ']).next().unwrap_or_default();
                    return Err(ExpressionError::new(
                        self.source,
                        operator_at,
                        format!("{name} is a number"),
                    )
                    .with_help("expected ==, !=, <, <=, > or >="));
                };
                Ok(Node::Number { field, relation, value: self.number(field, &value, value_at)? })
            }
        }
    }

    fn field(&mut self) -> Parsed<Field> {
        self.skip_space();
        let started = self.at;
        let length = self.rest().bytes().take_while(|byte| is_name_byte(*byte)).count();
        if length == 0 {
            let message =
                if self.rest().is_empty() { "the expression ends too soon" } else { "no field stands here" };
            return Err(self.error_here(message).with_help(format!("expected {FIELDS}, ! or (")));
        }
        self.at += length;
        let name = self.source[started..self.at].to_ascii_lowercase();
        let at = started..self.at;
        Ok(match name.as_str() {
            "host" | "req.http.host" | "obj.http.x-host" => Field::Text(TextField::Host),
            "path" => Field::Text(TextField::Path),
            "query" => Field::Text(TextField::Query),
            "url" | "req.url" | "obj.http.x-url" => Field::Text(TextField::Url),
            "tag" => Field::Text(TextField::Tag),
            "status" | "obj.status" | "resp.status" => Field::Number(NumberField::Status),
            "size" => Field::Number(NumberField::Size),
            "age" | "obj.age" => Field::Number(NumberField::Age),
            "field" | "resp.field" | "header" | "resp.header" => Field::Text(self.named_field()?),
            other => match other.strip_prefix("obj.http.").or_else(|| other.strip_prefix("resp.http.")) {
                Some(field) => Field::Text(self.response_field(field, at)?),
                None => return Err(self.unknown_field(other, at)),
            },
        })
    }

    /// `("name")` after `resp.field`
    fn named_field(&mut self) -> Parsed<TextField> {
        if !self.take("(") {
            return Err(self.error_here("the field's name is missing").with_help("expected (\"name\")"));
        }
        if self.peek() != Some(b'"') {
            return Err(self.error_here("the field's name is missing").with_help("expected it in quotes"));
        }
        let (name, at) = self.quoted()?;
        if !self.take(")") {
            return Err(self.error_here("the parenthesis is not closed").with_help("expected )"));
        }
        self.response_field(&name.to_ascii_lowercase(), at)
    }

    fn response_field(&self, name: &str, at: Range<usize>) -> Parsed<TextField> {
        if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
            return Err(ExpressionError::new(
                self.source,
                at,
                format!("`{name}` cannot be the name of a field"),
            ));
        }
        Ok(TextField::Response(name.into()))
    }

    fn unknown_field(&self, name: &str, at: Range<usize>) -> ExpressionError {
        let error = ExpressionError::new(self.source, at, format!("unknown field `{name}`"));
        if name.starts_with("req.http.") {
            return error.with_help("of a request's fields only req.http.host is kept with its response");
        }
        if matches!(name, "obj.ttl" | "obj.grace" | "obj.keep") {
            return error.with_help("lifetimes cannot be asked for; obj.age can");
        }
        let nearest = NAMES.iter().map(|known| (distance(name, known), *known)).min();
        match nearest {
            Some((distance, known)) if distance <= 2 && distance < known.len() => {
                error.with_help(format!("did you mean `{known}`?"))
            }
            _ => error.with_help(format!("expected {FIELDS}")),
        }
    }

    fn operator(&mut self) -> Parsed<(Operator, Range<usize>)> {
        const OPERATORS: [(&str, Operator); 8] = [
            ("==", Operator::Relation(Relation::Equal)),
            ("!=", Operator::Relation(Relation::NotEqual)),
            ("!~", Operator::NoMatch),
            ("~", Operator::Match),
            ("<=", Operator::Relation(Relation::LessOrEqual)),
            (">=", Operator::Relation(Relation::GreaterOrEqual)),
            ("<", Operator::Relation(Relation::Less)),
            (">", Operator::Relation(Relation::Greater)),
        ];
        self.skip_space();
        let started = self.at;
        for (text, operator) in OPERATORS {
            if self.take(text) {
                return Ok((operator, started..self.at));
            }
        }
        let error = self.error_here("no operator stands here");
        Err(match self.peek() {
            Some(b'=') => error.with_help("did you mean ==?"),
            _ => error.with_help("expected ==, !=, ~, !~, <, <=, > or >="),
        })
    }

    /// A string in quotes, or a word as Varnish's command line takes it: up to white space, `&&`, `||`, or
    /// a parenthesis that was not opened within it.
    fn value(&mut self) -> Parsed<(String, Range<usize>)> {
        match self.peek() {
            Some(b'"') => return self.quoted(),
            Some(_) => {}
            None => {
                return Err(self
                    .error_here("the expression ends too soon")
                    .with_help("expected a value: \"text\", 404, 1d, 10MiB"));
            }
        }
        let started = self.at;
        let mut open = 0_usize;
        while let Some(byte) = self.rest().bytes().next() {
            let ends = byte.is_ascii_whitespace()
                || self.rest().starts_with("&&")
                || self.rest().starts_with("||")
                || (byte == b')' && open == 0);
            if ends {
                break;
            }
            match byte {
                b'(' => open += 1,
                b')' => open -= 1,
                // An escaped parenthesis opens and closes nothing.
                b'\\' => self.at += 1,
                _ => {}
            }
            self.at = self.next_boundary(self.at + 1);
        }
        if self.at == started {
            return Err(self
                .error_here("no value stands here")
                .with_help("expected \"text\", 404, 1d or 10MiB"));
        }
        Ok((self.source[started..self.at].to_owned(), started..self.at))
    }

    /// In a string, `\"` is a quote and `\\` a backslash; before anything else a backslash is itself, so
    /// that patterns such as `\.png$` can be written as they are.
    fn quoted(&mut self) -> Parsed<(String, Range<usize>)> {
        self.skip_space();
        let started = self.at;
        let mut text = String::new();
        let mut chars = self.source[started..].char_indices().skip(1).peekable();
        while let Some((offset, char)) = chars.next() {
            match char {
                '"' => {
                    self.at = started + offset + 1;
                    return Ok((text, started..self.at));
                }
                '\\' => match chars.next_if(|(_, next)| matches!(next, '"' | '\\')) {
                    Some((_, escaped)) => text.push(escaped),
                    None => text.push('\\'),
                },
                other => text.push(other),
            }
        }
        Err(ExpressionError::new(self.source, started..started + 1, "this string is not closed")
            .with_help("expected \" at its end"))
    }

    fn equal(&self, field: &TextField, value: String, at: Range<usize>) -> Parsed<Pattern> {
        let Some(normal) = normal::text(field, value) else {
            let error = ExpressionError::new(self.source, at, format!("no {field} is ever this"));
            return Err(error.with_help(match field {
                TextField::Host => "expected a host without scheme and path, as clients send it: example.com",
                TextField::Path => "a path begins with / and has no query; url == compares both",
                _ => "expected what clients send: it begins with / and has neither # nor control characters",
            }));
        };
        let digest = TagDigest::of(normal.as_bytes());
        Ok(Pattern::Equal(normal.into(), digest))
    }

    fn regex(&self, field: &TextField, source: String, at: Range<usize>) -> Parsed<Pattern> {
        let source = normal::pattern(field, source);
        // Bytes, not characters: neither URLs nor field values need be UTF-8.
        let compile = |size: usize| -> Result<Regex, regex::Error> {
            RegexBuilder::new(&source)
                .unicode(false)
                .case_insensitive(*field == TextField::Host)
                .size_limit(size)
                .dfa_size_limit(size.min(DFA_CACHE))
                .nest_limit(64)
                .build()
        };
        // The library does not tell how large a compiled expression is, only whether it is too large.
        let mut size = (4 * 1024).min(self.limits.regex_size);
        loop {
            match compile(size) {
                Ok(regex) => {
                    let weight = 2 * size + DFA_CACHE.min(size);
                    return Ok(Pattern::Match { source: source.into(), regex, weight });
                }
                Err(regex::Error::CompiledTooBig(_)) if size < self.limits.regex_size => {
                    size = (4 * size).min(self.limits.regex_size);
                }
                Err(error) => return Err(self.regex_error(at, &error)),
            }
        }
    }

    fn regex_error(&self, at: Range<usize>, error: &regex::Error) -> ExpressionError {
        match error {
            regex::Error::CompiledTooBig(limit) => {
                let message = format!("the regular expression compiles to more than {limit} bytes");
                ExpressionError::new(self.source, at, message).too_large(*limit, "bytes")
            }
            other => {
                // The library draws its own picture; its last line says what is wrong.
                let text = other.to_string();
                let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
                ExpressionError::new(self.source, at, format!("not a regular expression: {reason}"))
            }
        }
    }

    fn number(&self, field: NumberField, text: &str, at: Range<usize>) -> Parsed<u64> {
        let expectation = match field {
            NumberField::Status => "expected a status code such as 404",
            NumberField::Size => "expected a size such as 1500, 10KiB or 2MB",
            NumberField::Age => "expected a span of time such as 30s, 10m, 2h or 1d",
        };
        let value = match field {
            NumberField::Status => {
                text.parse::<u16>().ok().filter(|code| (100..=999).contains(code)).map(u64::from)
            }
            NumberField::Size => text.parse::<bytesize::ByteSize>().ok().map(|size| size.as_u64()),
            NumberField::Age => humantime::parse_duration(text).ok().map(millis),
        };
        value.ok_or_else(|| {
            ExpressionError::new(self.source, at, format!("`{text}` does not fit here"))
                .with_help(expectation)
        })
    }

    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }

    fn skip_space(&mut self) {
        self.at += self.rest().bytes().take_while(u8::is_ascii_whitespace).count();
    }

    /// The next byte that is not white space.
    fn peek(&mut self) -> Option<u8> {
        self.skip_space();
        self.rest().bytes().next()
    }

    /// Steps over `token` if it comes next.
    fn take(&mut self, token: &str) -> bool {
        self.skip_space();
        let is_next = self.rest().starts_with(token);
        if is_next {
            self.at += token.len();
        }
        is_next
    }

    /// The first character boundary at or after `index`.
    fn next_boundary(&self, index: usize) -> usize {
        (index..self.source.len())
            .find(|index| self.source.is_char_boundary(*index))
            .unwrap_or(self.source.len())
    }

    fn error_here(&self, message: impl Into<String>) -> ExpressionError {
        let end = self.next_boundary((self.at + 1).min(self.source.len()));
        ExpressionError::new(self.source, self.at..end, message)
    }
}

/// What one thread's lazily built automaton of one regular expression may take.
const DFA_CACHE: usize = 64 * 1024;

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

/// One node of several; those of the same kind are taken apart, so that `a || (b || c)` is `a || b || c`.
fn flatten(
    nodes: Vec<Node>,
    join: fn(Vec<Node>) -> Node,
    split: fn(Node) -> Result<Vec<Node>, Node>,
) -> Node {
    let mut flat = Vec::with_capacity(nodes.len());
    for node in nodes {
        match split(node) {
            Ok(nodes) => flat.extend(nodes),
            Err(node) => flat.push(node),
        }
    }
    match (flat.len(), flat.pop()) {
        (1, Some(only)) => only,
        (_, last) => {
            flat.extend(last);
            join(flat)
        }
    }
}

/// How many letters to change, add or leave out to get from one word to the other.
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, from) in left.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (column, to) in right.bytes().enumerate() {
            let changed = diagonal + usize::from(from != to);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[right.len()]
}
