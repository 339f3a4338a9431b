//! Reading one value: from what was written to what it means, or to a problem with its place.

use serde_json::{Value as Json, json};
use serde_spanned::Spanned;
use toml::de::DeValue;

use super::problem::{Fault, Problems};
use super::section::Setting;
use super::suggest::nearest;

/// A value as it was written, with its place.
pub type Written<'i> = Spanned<DeValue<'i>>;

/// What can stand behind a `=`.
pub trait Value: Sized {
    /// What to call such a value in the reference and in problems: `duration`, `list of addresses`.
    fn kind() -> String;
    /// The value, or problems. Both, where only some members of a list are wrong.
    fn read(written: &Written<'_>, problems: &mut Problems) -> Option<Self>;
    /// The TOML that reads back as this value; nothing where absence means it.
    fn show(&self) -> Option<String>;
    /// JSON schema of the value.
    fn schema() -> Json;
    /// The settings within, where the value is a table.
    fn settings() -> Vec<Setting> {
        Vec::new()
    }
    /// All possible values with their meaning, where they can be counted.
    fn choices() -> &'static [(&'static str, &'static str)] {
        &[]
    }
    /// Where the table's keys are names that the operator chooses, or it stands in a list.
    const SHAPE: Shape = Shape::Plain;
}

/// How the settings of a table are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `[key]`
    Plain,
    /// `[key.NAME]`
    Named,
    /// `[[key]]`
    Repeated,
}

/// A value that is written as a string.
pub trait Text: Sized {
    /// What to call such a value.
    const KIND: &'static str;
    /// One that would be right, for problems.
    const EXAMPLE: &'static str;
    /// Reads the value.
    ///
    /// # Errors
    /// With what is wrong, and what to write in its stead.
    fn parse(text: &str) -> Result<Self, Fault>;
    /// The text that reads back as this value.
    fn show(&self) -> String;
    /// All possible texts with their meaning, where they can be counted.
    fn words() -> &'static [(&'static str, &'static str)] {
        &[]
    }
    /// What a bare number was probably meant to be.
    fn of_number(_number: &str) -> Option<String> {
        None
    }
}

impl<T: Text> Value for T {
    fn kind() -> String {
        T::KIND.to_string()
    }

    fn read(written: &Written<'_>, problems: &mut Problems) -> Option<Self> {
        let fault = match written.get_ref() {
            DeValue::String(text) => match T::parse(text) {
                Ok(value) => return Some(value),
                Err(fault) => fault,
            },
            DeValue::Integer(number) => {
                let fault = Fault::new(format!("expected a string with {}, found a number", one(T::KIND)));
                let meant = T::of_number(&number.to_string()).unwrap_or_else(|| T::EXAMPLE.to_string());
                fault.help(format!("write \"{meant}\""))
            }
            other => expected(T::KIND, T::EXAMPLE, other),
        };
        problems.error(written.span(), "", fault);
        None
    }

    fn show(&self) -> Option<String> {
        Some(Json::String(T::show(self)).to_string())
    }

    fn schema() -> Json {
        match T::words() {
            [] => json!({"type": "string", "description": T::KIND, "examples": [T::EXAMPLE]}),
            words => json!({"enum": words.iter().map(|(word, _)| word).collect::<Vec<_>>()}),
        }
    }

    fn choices() -> &'static [(&'static str, &'static str)] {
        T::words()
    }
}

/// `address` as `an address`.
fn one(kind: &str) -> String {
    let article = if kind.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {kind}")
}

/// `address or network` as `addresses or networks`.
fn many(kind: &str) -> String {
    let plural = |noun: &str| format!("{noun}{}", if noun.ends_with('s') { "es" } else { "s" });
    kind.split(" or ").map(plural).collect::<Vec<_>>().join(" or ")
}

/// The fault of a value that is of another kind than it should be.
fn expected(kind: &str, example: &str, found: &DeValue<'_>) -> Fault {
    let found = match found {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    let fault = Fault::new(format!("expected {}, found {found}", one(kind)));
    match example {
        "" => fault,
        "[…]" | "true" | "100" | "0.1" => fault.help(format!("write {example}")),
        example => fault.help(format!("for example \"{example}\"")),
    }
}

/// The fault of a word that is none of those possible.
pub fn unknown_word(written: &str, words: &[(&'static str, &'static str)]) -> Fault {
    let all = || {
        let all: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        format!("write one of {}", all.join(", "))
    };
    let help = match nearest(written, words.iter().map(|(word, _)| *word)) {
        Some(word) => format!("did you mean \"{word}\"?"),
        None => all(),
    };
    Fault::new(format!("unknown value \"{written}\"")).help(help)
}

macro_rules! whole_numbers {
    ($($Number:ty),*) => {$(
        impl Value for $Number {
            fn kind() -> String {
                "number".to_string()
            }

            fn read(written: &Written<'_>, problems: &mut Problems) -> Option<Self> {
                let fault = match written.get_ref() {
                    DeValue::Integer(number) => {
                        match <$Number>::from_str_radix(number.as_str(), number.radix()) {
                            Ok(number) => return Some(number),
                            Err(_) if number.as_str().starts_with('-') => Fault::new("expected a number that is not negative"),
                            Err(_) => Fault::new(format!("expected a number up to {}", <$Number>::MAX)),
                        }
                    }
                    DeValue::String(text) if text.parse::<$Number>().is_ok() => {
                        Fault::new("expected a number, found a string").help(format!("write {text} without quotes"))
                    }
                    other => expected("whole number", "100", other),
                };
                problems.error(written.span(), "", fault);
                None
            }

            fn show(&self) -> Option<String> {
                Some(self.to_string())
            }

            fn schema() -> Json {
                json!({"type": "integer", "minimum": 0})
            }
        }
    )*};
}
whole_numbers!(u16, u32, u64, usize);

impl Value for f64 {
    fn kind() -> String {
        "fraction".to_string()
    }

    fn read(written: &Written<'_>, problems: &mut Problems) -> Option<Self> {
        let number: Option<f64> = match written.get_ref() {
            DeValue::Float(number) => number.as_str().parse().ok(),
            DeValue::Integer(number) => number.as_str().parse().ok().filter(|_| number.radix() == 10),
            _ => None,
        };
        match number.filter(|number| number.is_finite()) {
            Some(number) => Some(number),
            None => {
                problems.error(written.span(), "", expected("fraction", "0.1", written.get_ref()));
                None
            }
        }
    }

    fn show(&self) -> Option<String> {
        Some(format!("{self:?}"))
    }

    fn schema() -> Json {
        json!({"type": "number"})
    }
}

impl Value for bool {
    fn kind() -> String {
        "true or false".to_string()
    }

    fn read(written: &Written<'_>, problems: &mut Problems) -> Option<Self> {
        match written.get_ref() {
            DeValue::Boolean(truth) => Some(*truth),
            other => {
                let fault = match other.as_str() {
                    Some(text @ ("true" | "false")) => Fault::new("expected true or false, found a string")
                        .help(format!("write {text} without quotes")),
                    Some("yes" | "on") => Fault::new("expected true or false").help("write true"),
                    Some("no" | "off") => Fault::new("expected true or false").help("write false"),
                    _ => Fault::new("expected true or false"),
                };
                problems.error(written.span(), "", fault);
                None
            }
        }
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }

    fn schema() -> Json {
        json!({"type": "boolean"})
    }
}

impl<T: Value> Value for Option<T> {
    fn choices() -> &'static [(&'static str, &'static str)] {
        T::choices()
    }

    fn kind() -> String {
        T::kind()
    }

    fn read(written: &Written<'_>, problems: &mut Problems) -> Option<Self> {
        T::read(written, problems).map(Some)
    }

    fn show(&self) -> Option<String> {
        self.as_ref().and_then(T::show)
    }

    fn schema() -> Json {
        T::schema()
    }

    fn settings() -> Vec<Setting> {
        T::settings()
    }

    const SHAPE: Shape = T::SHAPE;
}

impl<T: Value> Value for Spanned<T> {
    fn kind() -> String {
        T::kind()
    }

    fn read(written: &Written<'_>, problems: &mut Problems) -> Option<Self> {
        T::read(written, problems).map(|value| Spanned::new(written.span(), value))
    }

    fn show(&self) -> Option<String> {
        self.get_ref().show()
    }

    fn schema() -> Json {
        T::schema()
    }

    fn settings() -> Vec<Setting> {
        T::settings()
    }

    const SHAPE: Shape = T::SHAPE;
}

/// A list. Members that are wrong are left out, with a problem; so are members that come twice.
impl<T: Value + PartialEq> Value for Vec<T> {
    fn kind() -> String {
        format!("list of {}", many(&T::kind()))
    }

    fn read(written: &Written<'_>, problems: &mut Problems) -> Option<Self> {
        let DeValue::Array(members) = written.get_ref() else {
            let help = match T::read(written, &mut Problems::default()) {
                // Where it would be a table of settings, its header is what is wrong, whatever stands below it.
                _ if !T::settings().is_empty() => Some(
                    "there may be several: write its name in two pairs of brackets, as in [[route]]".into(),
                ),
                Some(value) => value.show().map(|text| format!("write [{text}]")),
                None => None,
            };
            problems.error(written.span(), "", Fault { help, ..expected("list", "", written.get_ref()) });
            return None;
        };
        let mut values = Vec::with_capacity(members.len());
        for member in members.iter() {
            let Some(value) = T::read(member, problems) else { continue };
            // Two equal tables are two tables; whether that makes sense is for the rule that knows them.
            if T::settings().is_empty() && values.contains(&value) {
                let fault = Fault::new("this is in the list already").help("remove one of the two");
                problems.error(member.span(), "", fault);
            } else {
                values.push(value);
            }
        }
        Some(values)
    }

    fn show(&self) -> Option<String> {
        let members: Option<Vec<String>> = self.iter().map(T::show).collect();
        members.map(|members| format!("[{}]", members.join(", ")))
    }

    fn schema() -> Json {
        json!({"type": "array", "items": T::schema()})
    }

    fn settings() -> Vec<Setting> {
        T::settings()
    }

    const SHAPE: Shape = Shape::Repeated;
}

/// One value, or a list of them.
#[derive(Clone, Debug, PartialEq)]
pub struct OneOrMany<T>(pub Vec<T>);

impl<T> Default for OneOrMany<T> {
    fn default() -> Self {
        OneOrMany(Vec::new())
    }
}

impl<T: Value + PartialEq> Value for OneOrMany<T> {
    fn kind() -> String {
        format!("{}, or a list of them", T::kind())
    }

    fn read(written: &Written<'_>, problems: &mut Problems) -> Option<Self> {
        match written.get_ref() {
            DeValue::Array(_) => Vec::read(written, problems).map(OneOrMany),
            _ => T::read(written, problems).map(|one| OneOrMany(vec![one])),
        }
    }

    fn show(&self) -> Option<String> {
        if self.0.is_empty() { None } else { Value::show(&self.0) }
    }

    fn schema() -> Json {
        json!({"anyOf": [T::schema(), <Vec<T> as Value>::schema()]})
    }
}

/// Tables under names that the operator chooses, in the order of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Named<T>(pub Vec<(Spanned<String>, T)>);

impl<T> Default for Named<T> {
    fn default() -> Self {
        Named(Vec::new())
    }
}

impl<T: Value> Value for Named<T> {
    fn kind() -> String {
        "tables by name".to_string()
    }

    fn read(written: &Written<'_>, problems: &mut Problems) -> Option<Self> {
        let DeValue::Table(table) = written.get_ref() else {
            problems.error(written.span(), "", expected("table for each name", "", written.get_ref()));
            return None;
        };
        let mut tables = Vec::new();
        for (name, written) in table.iter() {
            let sound = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
            if name.get_ref().is_empty() || !name.get_ref().chars().all(sound) {
                let fault = Fault::new("a name is made of letters, digits, `-` and `_`");
                problems.error(name.span(), "", fault);
            }
            if let Some(value) = T::read(written, problems) {
                tables.push((Spanned::new(name.span(), name.get_ref().to_string()), value));
            }
        }
        tables.sort_by_key(|(name, _)| name.span().start);
        Some(Named(tables))
    }

    fn show(&self) -> Option<String> {
        None
    }

    fn schema() -> Json {
        json!({"type": "object", "additionalProperties": T::schema()})
    }

    fn settings() -> Vec<Setting> {
        T::settings()
    }

    const SHAPE: Shape = Shape::Named;
}
