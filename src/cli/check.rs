//! `larder check`: everything that is wrong with a file, or what it comes to.

use super::arguments::CheckArguments;
use super::{Exit, colours, print, serve, tell};
use crate::config::{AdminAddress, Environment, Overrides, Settings, Severity, Size, load};

/// Checks a file; the report goes to standard error, the summary to standard output.
pub(super) fn check(arguments: &CheckArguments) -> Exit {
    let source = match serve::read(&arguments.config) {
        Ok(source) => source,
        Err(exit) => return exit,
    };
    match load(Some(&source), Overrides::default(), &Environment::of_this_process()) {
        Ok((settings, warnings)) => {
            tell(&warnings.render(Some(&source), colours()));
            let warned = match warnings.count(Severity::Warning) {
                0 => "fine".to_string(),
                warnings => format!("usable, with {}", counted(warnings, "warning")),
            };
            print(&format!("{}: {warned}\n{}", source.name, summary(&settings)))
        }
        Err(problems) => {
            tell(&problems.render(Some(&source), colours()));
            let warnings = match problems.count(Severity::Warning) {
                0 => String::new(),
                warnings => format!(", {}", counted(warnings, "warning")),
            };
            let errors = counted(problems.count(Severity::Error), "error");
            tell(&format!("\n{}: {errors}{warnings}\n", source.name));
            Exit::Configuration
        }
    }
}

fn summary(settings: &Settings) -> String {
    let listen: Vec<String> = settings.listen.iter().map(ToString::to_string).collect();
    let admin = match &settings.admin.address {
        AdminAddress::Off => "off".to_string(),
        AdminAddress::At(address) => address.to_string(),
    };
    let backends: Vec<String> = settings
        .backends
        .iter()
        .map(|backend| {
            format!("{} ({})", backend.name, counted(backend.settings.endpoints.len(), "endpoint"))
        })
        .collect();
    format!(
        "  listen    {}\n  admin     {admin}\n  memory    {}\n  backends  {}\n  routes    {}\n",
        listen.join(", "),
        rounded(settings.memory_bytes),
        backends.join(", "),
        settings.routes.iter().count() - 1,
    )
}

/// For people: whole MiB, where the number is large enough.
fn rounded(bytes: u64) -> Size {
    if bytes >= Size::mib(16).0 { Size::mib(bytes >> 20) } else { Size(bytes) }
}

fn counted(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
