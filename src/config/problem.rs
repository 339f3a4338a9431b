//! What is wrong with a configuration: every problem with its place, shown with line, caret and a suggestion.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

/// A configuration as it was written, and what to call it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The file's path, as the operator gave it.
    pub name: String,
    pub text: String,
}

/// Whether Larder can run in spite of a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can, but probably does not do what was meant.
    Warning,
}

/// Where a problem is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// These bytes of the file.
    File(Range<usize>),
    /// A command line option or an environment variable.
    Outside(String),
    /// Nothing was written where something should be.
    Nowhere,
}

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub severity: Severity,
    /// What is wrong, in one line.
    pub message: String,
    pub place: Place,
    /// What stands beside the caret; may be empty.
    pub label: String,
    /// What to write in its stead.
    pub help: Option<String>,
}

/// Why a text is not the value it should be; the place is added by whoever knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub message: String,
    /// What to write in its stead.
    pub help: Option<String>,
}

impl Fault {
    /// A fault without a suggestion.
    pub fn new(message: impl Into<String>) -> Self {
        Fault { message: message.into(), help: None }
    }

    /// With a suggestion.
    pub fn help(self, help: impl Into<String>) -> Self {
        Fault { help: Some(help.into()), ..self }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Fault {}

/// All problems of a configuration, gathered in one go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Adds an error at these bytes of the file.
    pub fn error(&mut self, span: Range<usize>, label: impl Into<String>, fault: Fault) {
        self.push(Severity::Error, Place::File(span), label.into(), fault);
    }

    /// Adds an error that has no place in the file.
    pub fn error_at(&mut self, place: Place, fault: Fault) {
        self.push(Severity::Error, place, String::new(), fault);
    }

    /// Adds a warning.
    pub fn warning(&mut self, place: Place, label: impl Into<String>, fault: Fault) {
        self.push(Severity::Warning, place, label.into(), fault);
    }

    fn push(&mut self, severity: Severity, place: Place, label: String, fault: Fault) {
        self.0.push(Problem { severity, message: fault.message, place, label, help: fault.help });
    }

    /// Whether Larder cannot run with this configuration.
    pub fn any_error(&self) -> bool {
        self.count(Severity::Error) > 0
    }

    /// How many there are of this severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.0.iter().filter(|problem| problem.severity == severity).count()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All problems in the order of the file; those without a place in it come first.
    pub fn in_order(&self) -> Vec<&Problem> {
        let mut problems: Vec<&Problem> = self.0.iter().collect();
        problems.sort_by_key(|problem| match &problem.place {
            Place::File(span) => span.start + 1,
            Place::Outside(_) | Place::Nowhere => 0,
        });
        problems
    }

    /// All problems as text for a person, with colours if `colours`. Ends with a line break unless empty.
    pub fn render(&self, source: Option<&Source>, colours: bool) -> String {
        let renderer = if colours { Renderer::styled() } else { Renderer::plain() };
        let mut text = String::new();
        for problem in self.in_order() {
            text.push_str(&problem.render(source, &renderer));
            text.push_str("\n\n");
        }
        text.truncate(text.len().saturating_sub(1));
        text
    }
}

impl Problem {
    fn render(&self, source: Option<&Source>, renderer: &Renderer) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = match &self.place {
            Place::Outside(name) => format!("{name}: {}", self.message),
            Place::File(_) | Place::Nowhere => self.message.clone(),
        };
        let mut group = match (&self.place, source) {
            (Place::File(span), Some(source)) => {
                let annotation =
                    AnnotationKind::Primary.span(visible(&source.text, span)).label(self.label.as_str());
                level.primary_title(title).element(
                    Snippet::source(source.text.as_str()).path(source.name.as_str()).annotation(annotation),
                )
            }
            _ => Group::with_title(level.primary_title(title)),
        };
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        renderer.render(&[group])
    }
}

/// `span`, within the text and on one line: a table that goes on for pages is marked where it begins.
fn visible(text: &str, span: &Range<usize>) -> Range<usize> {
    let start = span.start.min(text.len());
    let end = span.end.clamp(start, text.len());
    let line = text.get(start..end).and_then(|marked| marked.find('\n'));
    start..line.map_or(end, |length| start + length)
}
