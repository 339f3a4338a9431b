//! What is wrong with an expression, and where.

use std::fmt;
use std::ops::Range;

/// An expression that could not be understood. Displays as the message, the text, and a caret below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpressionError {
    source: Box<str>,
    at: Range<usize>,
    message: String,
    help: Option<String>,
    too_large: bool,
}

impl ExpressionError {
    pub(super) fn new(source: &str, at: Range<usize>, message: impl Into<String>) -> Self {
        ExpressionError { source: source.into(), at, message: message.into(), help: None, too_large: false }
    }

    pub(super) fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The same, of something that would be right if it were smaller; says what is allowed.
    pub(super) fn too_large(mut self, most: usize, unit: &str) -> Self {
        self.too_large = true;
        self.help = Some(format!("{most} {unit} are allowed"));
        self
    }

    /// Whether it is understood, and larger than the limits.
    pub fn is_too_large(&self) -> bool {
        self.too_large
    }

    /// What is wrong, without the place.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What would be right, where that is known.
    pub fn help(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// Where, in bytes of the text.
    pub fn position(&self) -> Range<usize> {
        self.at.clone()
    }
}

impl std::error::Error for ExpressionError {}

/// How much of the text is shown on either side of the place, in characters.
const CONTEXT: usize = 60;

impl fmt::Display for ExpressionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let before: Vec<char> = self.source.get(..self.at.start).unwrap_or("").chars().collect();
        let within = self.source.get(self.at.clone()).unwrap_or("").chars().count();
        let skipped = before.len().saturating_sub(CONTEXT);
        let shown =
            self.source.chars().skip(skipped).take((before.len() - skipped) + within.min(CONTEXT) + CONTEXT);
        // A line break or an escape sequence must not break the picture, nor the operator's terminal.
        let shown: String = shown.map(|char| if char.is_control() { ' ' } else { char }).collect();
        if self.source.is_empty() {
            // There is no place to show.
            write!(f, "{}", self.message)?;
            return self.help.as_ref().map_or(Ok(()), |help| write!(f, ": {help}"));
        }
        writeln!(f, "{}", self.message)?;
        writeln!(f, "  {shown}")?;
        write!(f, "  {}{}", " ".repeat(before.len() - skipped), "^".repeat(within.clamp(1, CONTEXT)))?;
        if let Some(help) = &self.help {
            write!(f, " {help}")?;
        }
        Ok(())
    }
}
