//! `larder serve`, up to the settings: the file read, problems shown.

use std::path::Path;

use super::{Exit, ServeArguments, colours, fail, tell};
use crate::config::{Environment, Overrides, Settings, Source, load};

/// The settings that a command line leads to. Prints problems, and warnings, to standard error.
///
/// # Errors
/// With how to end, when there are none: what is wrong has been printed.
pub fn settings(arguments: ServeArguments) -> Result<Settings, Exit> {
    if arguments.backend.is_empty() && arguments.config.is_none() {
        fail(
            "there is nothing to stand before\n\n  \
             larder serve --backend http://127.0.0.1:8000\n  \
             larder serve --config larder.toml",
        );
        return Err(Exit::Usage);
    }
    let source = arguments.config.as_deref().map(read).transpose()?;
    let overrides = Overrides {
        listen: arguments.listen,
        admin: arguments.admin,
        endpoints: arguments.backend,
        memory: arguments.memory,
        log_format: arguments.log_format,
        access_log: arguments.access_log,
    };
    match load(source.as_ref(), overrides, &Environment::of_this_process()) {
        Ok((settings, warnings)) => {
            tell(&warnings.render(source.as_ref(), colours()));
            Ok(settings)
        }
        Err(problems) => {
            tell(&problems.render(source.as_ref(), colours()));
            Err(Exit::Configuration)
        }
    }
}

/// The configuration file at `path`.
///
/// # Errors
/// With [`Exit::Configuration`] when it cannot be read: the reason has been printed.
pub(super) fn read(path: &Path) -> Result<Source, Exit> {
    let name = path.display().to_string();
    let cannot = |reason: String| {
        fail(&format!("{name} cannot be read: {reason}"));
        Exit::Configuration
    };
    let bytes = std::fs::read(path).map_err(|error| cannot(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count();
        cannot(format!("line {} is not UTF-8", line + 1))
    })?;
    Ok(Source { name, text })
}
