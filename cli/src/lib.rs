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
mod rest;
mod send;
mod testnet;
#[cfg(test)]
mod tests;
mod version;
mod wait;

use std::{
    ffi::OsString,
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};

use clap::{ArgMatches, Args as _, CommandFactory as _, FromArgMatches as _, Parser, error::ErrorKind};
use wakumix_conformance::ConformanceError;
pub use wakumix_node::roles::Roles;
use wakumix_node::{
    config::{Problem, Problems, Schema},
    keys::NodeKeyError,
};
use wakumix_role_api::command::{self as role_command, CommandContext, NodeClient, Subcommand, Terminal};
use wakumix_telemetry::logging;

use self::{
    config_args::ConfigArgs,
    rest::{AccessArgs, RestNode},
};

/// Something is wrong with what was given.
const EXIT_INPUT: u8 = 1;
/// The command failed while running.
const EXIT_RUNTIME: u8 = 3;
/// Where `--help` has the subcommands of roles: beside `pool`, which asks a running node as they do.
const AFTER_POOL: usize = 3;

/// Waku node that mixes
///
/// Runs any set of the roles relay, mixer, exit and sender, and sends messages over the mixnet, so that nobody on the way
/// learns who sent them. `wakumix testnet` shows all of it on this machine; `wakumix node` runs a node, which speaks the wire
/// of nwaku and takes its option names.
#[derive(Debug, Parser)]
#[command(name = "wakumix", version = version::VERSION)]
#[command(
    after_help = "Exit codes: 0 done, 1 wrong input or configuration, 2 wrong command line, 3 failed while running."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Testnet(testnet::TestnetCommand),
    Node(node::NodeCommand),
    Send(send::SendCommand),
    Pool(pool::PoolCommand),
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
    Conformance(wakumix_conformance::ConformanceArgs),
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
    /// Its output cannot be written.
    #[error("error: the output cannot be written: {0}")]
    Output(io::Error),
}

impl Failure {
    /// A failure while running whose message says all.
    fn while_running(error: impl std::fmt::Display) -> Self {
        Self::Runtime(Problem::bare(error.to_string()))
    }

    /// Says it on standard error: as text, or where the log is JSON as lines of it.
    fn report(&self) {
        let problems = match self {
            Self::Input(Problems(problems)) => &problems[..],
            Self::Runtime(problem) => std::slice::from_ref(problem),
            Self::Output(_) => &[],
        };
        if logging::is_json() && tracing::enabled!(tracing::Level::ERROR) && !problems.is_empty() {
            for Problem { message, help } in problems {
                tracing::error!(help = help.as_deref(), exit_code = self.code(), "{message}");
            }
        } else {
            // Nothing is left to do when even standard error is closed.
            let _ = writeln!(Terminal::new(io::stderr()), "{self}");
        }
    }

    /// The exit code that tells it.
    fn code(&self) -> u8 {
        match self {
            Self::Input(_) => EXIT_INPUT,
            Self::Runtime(_) | Self::Output(_) => EXIT_RUNTIME,
        }
    }
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        Self::Input(problems)
    }
}

impl From<NodeKeyError> for Failure {
    fn from(error: NodeKeyError) -> Self {
        Self::Input(Problem::new(error.to_string(), error.help()).into())
    }
}

impl From<ConformanceError> for Failure {
    fn from(error: ConformanceError) -> Self {
        match error {
            ConformanceError::Input { message, help } => Self::Input(Problem::new(message, help).into()),
            ConformanceError::Output(error) => Self::Output(error),
            error => Self::while_running(error),
        }
    }
}

impl From<role_command::CommandError> for Failure {
    fn from(error: role_command::CommandError) -> Self {
        match error {
            role_command::CommandError::Input { message, help } => Self::Input(Problem::new(message, help).into()),
            role_command::CommandError::Runtime { message, help: Some(help) } => {
                Self::Runtime(Problem::new(message, help))
            }
            role_command::CommandError::Output(error) => Self::Output(error),
            error => Self::while_running(error),
        }
    }
}

impl From<Failure> for role_command::CommandError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Input(Problems(problems)) => {
                let first = problems.into_iter().next();
                let Problem { message, help } = first.unwrap_or_else(|| Problem::bare("it is refused"));
                Self::Input { message, help: help.unwrap_or_default() }
            }
            Failure::Runtime(Problem { message, help }) => Self::Runtime { message, help },
            Failure::Output(error) => Self::Output(error),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// Runs the command of a command line, the program's name first. Its nodes can have these roles: those of this build
/// ([`Roles::built_in`]), or those and a program's own.
pub fn run(roles: &Roles, arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> ExitCode {
    let mut out = io::stdout().lock();
    let done = execute(roles, arguments, &mut out).and_then(|()| out.flush().map_err(Failure::from));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // Who reads has read enough: `wakumix pool | head -1`.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report();
            ExitCode::from(failure.code())
        }
    }
}

/// As [`run`], with the output to `out`. A wrong command line ends the program. What others wrote reaches `out` with its
/// control characters [escaped](Terminal).
///
/// # Errors
/// Why the command did not do its work.
pub fn execute(
    roles: &Roles,
    arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let out = &mut Terminal::new(out);
    let arguments = config_args::with_equals(arguments);
    let mut command = Cli::command_with(roles)?;
    let matches = command.try_get_matches_from_mut(&arguments);
    let matches = matches.unwrap_or_else(|error| unless_asked_for(&mut command, &arguments, error).exit());
    if let Some((command, own)) = command_of(roles, &matches) {
        let access = AccessArgs::from_arg_matches(own).unwrap_or_else(|error| error.exit());
        let connect = move |via: &str, limit: Duration| {
            Ok(Box::new(RestNode::at(via, limit, access.read()?)?) as Box<dyn NodeClient>)
        };
        return Ok((command.run)(own, &mut CommandContext { out, connect: &connect })?);
    }
    Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit()).command.run(roles, out)
}

/// The error of a command line. Help comes only where it is asked for: a text such as `-hi` was to be sent.
fn unless_asked_for(command: &mut clap::Command, arguments: &[OsString], error: clap::Error) -> clap::Error {
    if ![ErrorKind::DisplayHelp, ErrorKind::DisplayVersion].contains(&error.kind()) {
        return error;
    }
    let flags =
        || arguments.iter().skip(1).map(|argument| argument.to_string_lossy()).take_while(|argument| argument != "--");
    let asked = ["-h", "--help", "-V", "--version"];
    let cluster = flags().find(|flag| flag.len() > 2 && flag.starts_with('-') && !flag.starts_with("--"));
    match cluster.filter(|_| !flags().any(|flag| asked.contains(&flag.as_ref()))) {
        Some(text) => {
            let message =
                format!("unexpected argument '{text}' found\n\n  tip: to pass '{text}' as a value, use '-- {text}'");
            command.error(ErrorKind::UnknownArgument, message)
        }
        None => error,
    }
}

/// The subcommand of a role that was given, with its arguments.
fn command_of<'a>(roles: &Roles, matches: &'a ArgMatches) -> Option<(Subcommand, &'a ArgMatches)> {
    let (name, own) = matches.subcommand()?;
    let commands = roles.iter().flat_map(|role| role.commands());
    commands.map(|command| (command, own)).find(|(command, _)| (command.command)().get_name() == name)
}

impl Cli {
    /// What the command line understands, with the flags of every key of these roles.
    fn command_with(roles: &Roles) -> Result<clap::Command, Failure> {
        let schema = Schema::new(roles).map_err(Failure::while_running)?;
        let own = config_args::with_keys(Self::command(), &schema);
        roles.iter().flat_map(|role| role.commands().into_iter().map(move |command| (role, command))).try_fold(
            own,
            |own, (role, Subcommand { command, .. })| {
                // They ask a running node, which may want its token.
                let command = AccessArgs::augment_args(command().display_order(AFTER_POOL));
                let name = command.get_name();
                match own.find_subcommand(name) {
                    Some(_) => Err(Failure::while_running(format_args!(
                        "{} has the subcommand {name}, which there is already",
                        role.name()
                    ))),
                    None => Ok(own.subcommand(command)),
                }
            },
        )
    }
}

impl Command {
    fn run(&self, roles: &Roles, out: &mut impl Write) -> Result<(), Failure> {
        match self {
            Self::Testnet(command) => command.run(),
            Self::Node(command) => command.run(roles),
            Self::Send(command) => command.run(roles, out),
            Self::Pool(command) => command.run(out),
            Self::Config(command) => command.run(roles, out),
            Self::Key(command) => command.run(out),
            Self::Enr(command) => command.run(roles, out),
            Self::Conformance(command) => Ok(command.run(out)?),
        }
    }
}
