//! The commands of the `larder` program: arguments, and the subcommands that talk to a running Larder.

mod arguments;
mod check;
mod client;
pub mod demo;
mod remote;
mod serve;
mod table;

use std::io::IsTerminal;
use std::process::ExitCode;

pub use arguments::{Arguments, Command, ConfigCommand, DemoArguments, Errand, ServeArguments};
pub use serve::settings;

/// How the program ends; the numbers are those of BSD's `sysexits.h` where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Success,
    /// Something went wrong at run time: 1.
    Failure,
    /// The command line makes no sense: 64 (`EX_USAGE`).
    Usage,
    /// The configuration has errors: 78 (`EX_CONFIG`).
    Configuration,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(match exit {
            Exit::Success => 0,
            Exit::Failure => 1,
            Exit::Usage => 64,
            Exit::Configuration => 78,
        })
    }
}

/// The arguments of this process. Prints what `--help` and `--version` ask for.
///
/// # Errors
/// With how to end, when there is nothing (more) to do; what is wrong has been printed.
pub fn arguments() -> Result<Arguments, Exit> {
    use clap::Parser;
    Arguments::try_parse().map_err(|error| {
        // Where standard output is closed there is nobody to tell.
        let _ = error.print();
        if error.use_stderr() { Exit::Usage } else { Exit::Success }
    })
}

/// Carries out a command that is done when it has printed something: all but `serve` and `demo`.
pub fn run(command: Errand) -> Exit {
    match command {
        Errand::Check(arguments) => check::check(&arguments),
        Errand::Config(ConfigCommand::Reference) => print(&crate::config::reference()),
        Errand::Config(ConfigCommand::Schema) => match serde_json::to_string_pretty(&crate::config::schema())
        {
            Ok(schema) => print(&format!("{schema}\n")),
            Err(error) => fail(&error.to_string()),
        },
        Errand::Remote(command) => remote::run(*command),
    }
}

/// Prints to standard output. A reader who has seen enough (`larder purges | head`) is no failure.
fn print(text: &str) -> Exit {
    use std::io::Write;
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => Exit::Success,
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Exit::Success,
        Err(_) => Exit::Failure,
    }
}

/// Says what went wrong.
fn fail(message: &str) -> Exit {
    tell(&format!("error: {message}\n"));
    Exit::Failure
}

/// Writes to standard error. Where nobody takes it there is nobody to tell.
pub fn tell(text: &str) {
    use std::io::Write;
    let _ = std::io::stderr().write_all(text.as_bytes());
}

fn colours() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}
