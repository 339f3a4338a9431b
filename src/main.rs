//! Arguments to settings to app; nothing else.

// They wait for whoever reads, and panic where nobody does: `metrics::operations` and `cli::tell` do neither.
#![warn(clippy::print_stderr, clippy::print_stdout)]

use std::process::ExitCode;

use larder::app;
use larder::cli::{self, Command, Exit};

fn main() -> ExitCode {
    let exit = match cli::arguments() {
        Ok(arguments) => run(arguments.command),
        Err(exit) => exit,
    };
    exit.into()
}

fn run(command: Command) -> Exit {
    match command {
        Command::Serve(arguments) => match cli::settings(arguments) {
            Ok(settings) => end_of(app::serve(settings)),
            Err(exit) => exit,
        },
        Command::Demo(arguments) => end_of(app::demo(arguments)),
        Command::Other(command) => cli::run(command),
    }
}

fn end_of(served: Result<(), app::Failure>) -> Exit {
    match served {
        Ok(()) => Exit::Success,
        Err(failure) => {
            cli::tell(&format!("error: {failure}\n"));
            Exit::Failure
        }
    }
}
