//! Bearer tokens: read from a file or the environment, never shown.

use std::path::Path;

use super::environment::Environment;
use super::problem::Fault;

/// A secret that its bearer shows (RFC 6750), and what the audit log calls the bearer. Compare it in constant
/// time.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// As written before the secret, or `token 1`, `token 2`… in the order of the file.
    pub name: String,
    secret: String,
}

impl Token {
    /// A token made of this secret.
    pub fn new(name: impl Into<String>, secret: impl Into<String>) -> Self {
        Token { name: name.into(), secret: secret.into() }
    }

    /// The secret itself.
    pub fn reveal(&self) -> &str {
        &self.secret
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Token({}: …)", self.name)
    }
}

/// The tokens in a file, one a line, as `token` or `name:token`.
///
/// # Errors
/// When it cannot be read, holds none, or one that is too short to be a secret.
pub fn in_file(path: &Path) -> Result<Vec<Token>, Fault> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Fault::new(format!("{} cannot be read: {error}", path.display())))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    gather(lines, &path.display().to_string())
}

/// The tokens in an environment variable, separated by commas or blanks.
///
/// # Errors
/// When it is not set, holds none, or one that is too short to be a secret.
pub fn in_variable(name: &str, environment: &Environment) -> Result<Vec<Token>, Fault> {
    let Some(text) = environment.variables.get(name) else {
        return Err(Fault::new(format!("the environment variable {name} is not set")));
    };
    gather(text.split([',', ' ', '\n', '\t']), &format!("${name}"))
}

fn gather<'t>(texts: impl Iterator<Item = &'t str>, from: &str) -> Result<Vec<Token>, Fault> {
    const SHORTEST: usize = 16;
    let mut tokens = Vec::new();
    for text in texts.filter(|text| !text.is_empty()) {
        let (name, secret) = match text.split_once(':') {
            Some((name, secret)) => (name.trim().to_string(), secret.trim()),
            None => (format!("token {}", tokens.len() + 1), text),
        };
        if secret.len() < SHORTEST {
            return Err(Fault::new(format!("{from} holds a token of fewer than {SHORTEST} characters"))
                .help("make one with `openssl rand -hex 24`"));
        }
        // RFC 6750 §2.1: what can stand behind `Bearer`.
        if !secret.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte)) {
            return Err(Fault::new(format!("{from} holds a token with a character that cannot be sent")));
        }
        tokens.push(Token { name, secret: secret.to_string() });
    }
    match tokens.is_empty() {
        true => Err(Fault::new(format!("{from} holds no token"))),
        false => Ok(tokens),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_read_and_bad_ones_refused() {
        let of = |text: &str| {
            let variables = [("T".to_string(), text.to_string())].into();
            in_variable("T", &Environment { memory_bytes: None, variables })
        };
        let found = of("0123456789abcdef, deploy:fedcba9876543210").unwrap();
        assert_eq!(
            found,
            [Token::new("token 1", "0123456789abcdef"), Token::new("deploy", "fedcba9876543210")]
        );
        for (text, message) in [
            ("", "$T holds no token"),
            ("short", "$T holds a token of fewer than 16 characters"),
            ("0123456789abcdé0", "$T holds a token with a character that cannot be sent"),
        ] {
            assert_eq!(of(text).unwrap_err().message, message);
        }
        assert!(in_variable("U", &Environment::default()).unwrap_err().message.contains("not set"));
    }

    #[test]
    fn a_token_is_not_shown() {
        assert!(!format!("{:?}", Token::new("name", "0123456789abcdef")).contains("0123"));
    }
}
