//! One record per setting: the [`section!`](super::section::section) macro makes of it the field, its
//! default, the reader, the reference page's row and the schema.

use serde_json::{Map, Value as Json, json};

use super::problem::{Fault, Problems};
use super::suggest::{nearest, other_names};
use super::value::{Shape, Value, Written};

/// All there is to know about one setting.
#[derive(Clone, Debug)]
pub struct Setting {
    pub key: &'static str,
    pub kind: String,
    /// The default as TOML; nothing where the setting is absent by default.
    pub default: Option<String>,
    /// There is no default that would do.
    pub required: bool,
    /// What it means, in Markdown; paragraphs as written above the field.
    pub meaning: String,
    pub schema: Json,
    /// All possible values with their meaning, where they can be counted.
    pub choices: &'static [(&'static str, &'static str)],
    /// The settings within, where it is a table.
    pub settings: Vec<Setting>,
    pub shape: Shape,
}

/// What a value must meet beyond its kind.
pub type Check<T> = fn(&T) -> Result<(), Fault>;

/// A table of settings.
pub trait Section {
    /// What the table is about.
    const MEANING: &'static str;
    /// All keys that it may have.
    const KEYS: &'static [&'static str];
}

/// The value, if it can be read; checked, if it could be read without a problem. A value of which parts were
/// wrong is judged no further: what is left of it was not meant.
pub fn read_checked<T: Value>(
    written: &Written<'_>,
    checks: &[Check<T>],
    problems: &mut Problems,
) -> Option<T> {
    let before = problems.len();
    let value = T::read(written, problems)?;
    if problems.len() == before {
        for fault in checks.iter().filter_map(|check| check(&value).err()) {
            problems.error(written.span(), "", fault);
        }
    }
    Some(value)
}

/// Reports the keys of a table that it should not have.
pub fn refuse_unknown<S: Section>(written: &Written<'_>, problems: &mut Problems) {
    let Some(table) = written.get_ref().as_table() else { return };
    for key in table.keys() {
        let name = key.get_ref().as_ref();
        if S::KEYS.contains(&name) {
            continue;
        }
        let fault = Fault::new(format!("unknown setting `{name}`"));
        problems.error(key.span(), "", fault.help(what_was_meant::<S>(name)));
    }
}

fn what_was_meant<S: Section>(name: &str) -> String {
    if let Some(ours) = other_names(name).find(|ours| S::KEYS.contains(ours)) {
        return format!("here it is called `{ours}`");
    }
    if let Some(key) = nearest(name, S::KEYS.iter().copied()) {
        return format!("did you mean `{key}`?");
    }
    let everywhere = super::reference::paths();
    let called = |sought: &str| everywhere.iter().find(|path| path.rsplit('.').next() == Some(sought));
    // What it is called here goes before what others mean by it.
    if let Some(path) = called(name).or_else(|| other_names(name).find_map(called)) {
        return match path.contains('.') {
            true => format!("there is `{path}`"),
            false => format!("`{path}` stands before all tables: move it above the first line with `[…]`"),
        };
    }
    format!(
        "the settings here are {}",
        S::KEYS.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")
    )
}

/// The schema of a table with these settings.
pub fn schema_of(settings: &[Setting], meaning: &str) -> Json {
    let properties: Map<String, Json> = settings
        .iter()
        .map(|setting| {
            let mut schema = setting.schema.clone();
            if let Some(schema) = schema.as_object_mut() {
                schema.insert("description".to_string(), json!(setting.meaning));
                if let Some(default) =
                    setting.default.as_deref().filter(|_| !setting.required).and_then(json_of)
                {
                    schema.insert("default".to_string(), default);
                }
            }
            (setting.key.to_string(), schema)
        })
        .collect();
    let required: Vec<&str> =
        settings.iter().filter(|setting| setting.required).map(|setting| setting.key).collect();
    json!({
        "type": "object",
        "description": meaning.trim(),
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

/// Strings, numbers, booleans and lists of them are written alike in TOML and JSON.
fn json_of(toml: &str) -> Option<Json> {
    serde_json::from_str(toml).ok()
}

/// Documentation lines as paragraphs without the blank in front.
pub fn paragraphs(lines: &str) -> String {
    lines.lines().map(str::trim).collect::<Vec<_>>().join("\n").trim().to_string()
}

/// Declares a table of settings. Each record: documentation, field (`as "key"` where the key is no
/// identifier), type, default, and optionally `=> check`, a function from the value to a [`Fault`].
macro_rules! section {
    (@key $field:ident $key:literal) => { $key };
    (@key $field:ident) => { stringify!($field) };
    (
        $(#[doc = $section_doc:literal])*
        pub struct $Section:ident {
            $(
                $(#[doc = $doc:literal])*
                pub $field:ident $(as $key:literal)?: $Type:ty = $default:expr $(=> $check:expr)?
            ),* $(,)?
        }
    ) => {
        $(#[doc = $section_doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $Section {
            $( $(#[doc = $doc])* pub $field: $Type, )*
        }

        impl Default for $Section {
            fn default() -> Self {
                $Section { $( $field: $default, )* }
            }
        }

        impl $crate::config::section::Section for $Section {
            const MEANING: &'static str = concat!($($section_doc, "\n",)*);
            const KEYS: &'static [&'static str] =
                &[$( $crate::config::section::section!(@key $field $($key)?), )*];
        }

        impl $crate::config::value::Value for $Section {
            fn kind() -> String {
                "table".to_string()
            }

            fn read(
                written: &$crate::config::value::Written<'_>,
                problems: &mut $crate::config::problem::Problems,
            ) -> Option<Self> {
                use $crate::config::section::Section;
                let Some(table) = written.get_ref().as_table() else {
                    let fault = $crate::config::problem::Fault::new("expected a table of settings")
                        .help(format!("its settings are {}", Self::KEYS.join(", ")));
                    problems.error(written.span(), "", fault);
                    return None;
                };
                let mut section = Self::default();
                $(
                    if let Some(written) = table.get($crate::config::section::section!(@key $field $($key)?)) {
                        let checks: &[$crate::config::section::Check<$Type>] = &[$($check)?];
                        if let Some(value) = $crate::config::section::read_checked(written, checks, problems) {
                            section.$field = value;
                        }
                    }
                )*
                $crate::config::section::refuse_unknown::<Self>(written, problems);
                Some(section)
            }

            fn show(&self) -> Option<String> {
                None
            }

            fn schema() -> serde_json::Value {
                use $crate::config::section::Section;
                $crate::config::section::schema_of(
                    &Self::settings(),
                    &$crate::config::section::paragraphs(Self::MEANING),
                )
            }

            fn settings() -> Vec<$crate::config::section::Setting> {
                let default = Self::default();
                vec![$(
                    $crate::config::section::Setting {
                        key: $crate::config::section::section!(@key $field $($key)?),
                        kind: <$Type as $crate::config::value::Value>::kind(),
                        default: $crate::config::value::Value::show(&default.$field),
                        required: false $(|| {
                            let check: $crate::config::section::Check<$Type> = $check;
                            check(&default.$field).is_err()
                        })?,
                        meaning: $crate::config::section::paragraphs(concat!($($doc, "\n",)*)),
                        schema: <$Type as $crate::config::value::Value>::schema(),
                        choices: <$Type as $crate::config::value::Value>::choices(),
                        settings: <$Type as $crate::config::value::Value>::settings(),
                        shape: <$Type as $crate::config::value::Value>::SHAPE,
                    },
                )*]
            }
        }
    };
}

/// Declares a choice between words, each with its meaning; the first is the default.
macro_rules! words {
    (
        $(#[doc = $doc:literal])*
        pub enum $Choice:ident as $kind:literal {
            $( $(#[doc = $word_doc:literal])* $Variant:ident = $word:literal ),* $(,)?
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $Choice {
            $( $(#[doc = $word_doc])* $Variant, )*
        }
        $crate::config::section::words!(@text $Choice as $kind { $( $(#[doc = $word_doc])* $Variant = $word ),* });
    };
    (@text $Choice:ident as $kind:literal {
        $( $(#[doc = $word_doc:literal])* $Variant:ident = $word:literal ),* $(,)?
    }) => {
        impl $crate::config::value::Text for $Choice {
            const KIND: &'static str = $kind;
            const EXAMPLE: &'static str = [$($word),*][0];

            fn parse(text: &str) -> Result<Self, $crate::config::problem::Fault> {
                match text {
                    $( $word => Ok($Choice::$Variant), )*
                    other => Err($crate::config::value::unknown_word(other, Self::words())),
                }
            }

            fn show(&self) -> String {
                match self { $( $Choice::$Variant => $word.to_string(), )* }
            }

            fn words() -> &'static [(&'static str, &'static str)] {
                &[$( ($word, concat!($($word_doc, "\n",)*)) ),*]
            }
        }
    };
}

pub(super) use {section, words};
