//! Arguments to settings to app; nothing else.

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
            Ok(settings) => on_threads(settings.server.workers, app::serve(settings)),
            Err(exit) => exit,
        },
        Command::Demo(arguments) => on_threads(None, app::demo(arguments)),
        Command::Other(command) => cli::run(command),
    }
}

fn on_threads(workers: Option<usize>, work: impl Future<Output = Result<(), app::Failure>>) -> Exit {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(workers) = workers {
        runtime.worker_threads(workers);
    }
    let ended = match runtime.enable_all().build() {
        Ok(runtime) => {
            let ended = runtime.block_on(work).map_err(|failure| failure.to_string());
            // A name that is still being looked up must not hold the process up.
            runtime.shutdown_background();
            ended
        }
        Err(error) => Err(format!("the runtime cannot start: {error}")),
    };
    match ended {
        Ok(()) => Exit::Success,
        Err(message) => {
            eprintln!("error: {message}");
            Exit::Failure
        }
    }
}
