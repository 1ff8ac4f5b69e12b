//! The command line: what `wakumix` understands, and how it ends.
//!
//! Exit codes: 0 done, 1 something is wrong with what was given (input, configuration, keys), 2 the command line itself
//! is wrong, 3 it failed while running.

mod config;
mod config_args;
mod enr;
mod key;
mod node;
mod pool;
mod probe;
mod rest;
mod send;
mod table;
mod testnet;
#[cfg(test)]
mod tests;

use std::{
    ffi::OsString,
    io::{self, Write},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use wakumix_conformance::CommandError;

pub use config_args::ConfigArgs;

use crate::{
    config::{Problem, Problems},
    keys::KeyError,
};

/// Something is wrong with what was given.
const EXIT_INPUT: u8 = 1;
/// The command failed while running.
const EXIT_RUNTIME: u8 = 3;

/// Waku node that mixes.
#[derive(Debug, Parser)]
#[command(name = "wakumix", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Testnet(testnet::TestnetCommand),
    Node(node::NodeCommand),
    Send(send::SendCommand),
    Pool(pool::PoolCommand),
    Probe(probe::ProbeCommand),
    /// Check or show a configuration
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Make or show keys
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Show or decode node records
    #[command(subcommand)]
    Enr(enr::EnrCommand),
    // The same as the program of that name.
    Conformance(wakumix_conformance::Command),
}

/// Why a command did not do its work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// Something is wrong with what was given; each problem with its remedy.
    #[error("{0}")]
    Input(Problems),
    /// It failed while running.
    #[error("{0}")]
    Runtime(Problem),
}

impl Failure {
    /// A failure while running whose message says all.
    fn while_running(error: impl std::fmt::Display) -> Self {
        Self::Runtime(Problem::bare(error.to_string()))
    }

    /// The exit code that tells it.
    fn code(&self) -> u8 {
        match self {
            Self::Input(_) => EXIT_INPUT,
            Self::Runtime(_) => EXIT_RUNTIME,
        }
    }
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        Self::Input(problems)
    }
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        Self::Input(Problem::new(error.to_string(), error.help()).into())
    }
}

impl From<CommandError> for Failure {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Input { message, help } => Self::Input(Problem::new(message, help).into()),
            error => Self::while_running(error),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::while_running(format_args!("the output cannot be written: {error}"))
    }
}

/// Runs the command of a command line, the program's name first.
pub fn run(arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let mut out = io::stdout().lock();
    let done = cli.command.run(&mut out).and_then(|()| out.flush().map_err(Failure::from));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Nothing is left to do when even standard error is closed.
            let _ = writeln!(io::stderr(), "{failure}");
            ExitCode::from(failure.code())
        }
    }
}

impl Command {
    fn run(&self, out: &mut impl Write) -> Result<(), Failure> {
        match self {
            Self::Testnet(command) => command.run(),
            Self::Node(command) => command.run(),
            Self::Send(command) => command.run(out),
            Self::Pool(command) => command.run(out),
            Self::Probe(command) => command.run(out),
            Self::Config(command) => command.run(out),
            Self::Key(command) => command.run(out),
            Self::Enr(command) => command.run(out),
            Self::Conformance(command) => Ok(command.run(out)?),
        }
    }
}
