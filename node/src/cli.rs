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

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use wakumix_conformance::CommandError;

pub use config_args::ConfigArgs;

use crate::{
    config::{Problem, Problems, schema::Schema},
    keys::KeyError,
    roles::Roles,
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

/// Runs the command of a command line, the program's name first. Its nodes can have these roles: those of this build
/// ([`Roles::built_in`]), or those and a program's own.
pub fn run(roles: &Roles, arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> ExitCode {
    let mut out = io::stdout().lock();
    let parsed = Cli::parse_with(roles, arguments);
    let done =
        parsed.and_then(|cli| cli.command.run(roles, &mut out)).and_then(|()| out.flush().map_err(Failure::from));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Nothing is left to do when even standard error is closed.
            let _ = writeln!(io::stderr(), "{failure}");
            ExitCode::from(failure.code())
        }
    }
}

/// As [`run`], with the output to `out`. A wrong command line ends the program.
///
/// # Errors
/// Why the command did not do its work.
pub fn execute(
    roles: &Roles,
    arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    out: &mut impl Write,
) -> Result<(), Failure> {
    Cli::parse_with(roles, arguments)?.command.run(roles, out)
}

impl Cli {
    /// Reads a command line. A wrong one ends the program.
    fn parse_with(
        roles: &Roles,
        arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    ) -> Result<Self, Failure> {
        let matches = Self::command_with(roles)?.try_get_matches_from(arguments);
        Ok(matches.and_then(|matches| Self::from_arg_matches(&matches)).unwrap_or_else(|error| error.exit()))
    }

    /// What the command line understands, with the flags of every key of these roles.
    fn command_with(roles: &Roles) -> Result<clap::Command, Failure> {
        let schema = Schema::new(roles).map_err(Failure::while_running)?;
        Ok(config_args::with_keys(Self::command(), &schema))
    }
}

impl Command {
    fn run(&self, roles: &Roles, out: &mut impl Write) -> Result<(), Failure> {
        match self {
            Self::Testnet(command) => command.run(),
            Self::Node(command) => command.run(roles),
            Self::Send(command) => command.run(roles, out),
            Self::Pool(command) => command.run(out),
            Self::Probe(command) => command.run(out),
            Self::Config(command) => command.run(roles, out),
            Self::Key(command) => command.run(out),
            Self::Enr(command) => command.run(roles, out),
            Self::Conformance(command) => Ok(command.run(out)?),
        }
    }
}
