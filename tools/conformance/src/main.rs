//! The wakumix-conformance binary. Exit codes are those of `wakumix`: 0 done, 1 something is wrong with what was given,
//! 2 the command line itself is wrong, 3 it failed while running.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;
use wakumix_conformance::{ConformanceArgs, ConformanceError};

#[derive(Debug, Parser)]
#[command(name = "wakumix-conformance", version)]
struct Cli {
    #[command(flatten)]
    command: ConformanceArgs,
}

fn main() -> ExitCode {
    let mut out = io::stdout().lock();
    let done = Cli::parse().command.run(&mut out).and_then(|()| Ok(out.flush()?));
    // Nothing is left to do when even standard error is closed.
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(ConformanceError::Input { message, help }) => {
            let _ = writeln!(io::stderr(), "error: {message}\n  help: {help}");
            ExitCode::from(1)
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::from(3)
        }
    }
}
