//! Subcommands of the program that a role brings. They ask a running node over REST; what carries that is the program's
//! affair.

mod table;
mod terminal;

use std::{
    io::{self, Read, Write},
    time::Duration,
};

use clap::ArgMatches;

pub use table::{Layout, Side, short_peer, short_time};
pub use terminal::{Terminal, one_line};

/// One subcommand.
#[derive(Clone, Copy, Debug)]
pub struct Subcommand {
    /// Its name, arguments and help.
    pub command: fn() -> clap::Command,
    /// Carries it out.
    pub run: fn(&ArgMatches, &mut CommandContext<'_>) -> Result<(), CommandError>,
}

/// What a subcommand works with.
pub struct CommandContext<'a> {
    /// Where its output goes.
    pub out: &'a mut dyn Write,
    /// How running nodes are reached.
    pub connect: &'a Connect,
}

/// Makes a client of the running node at an address such as `http://127.0.0.1:8645`, which has so long for an answer.
pub type Connect = dyn Fn(&str, Duration) -> Result<Box<dyn NodeClient>, CommandError>;

/// Asks a running node over REST.
pub trait NodeClient {
    /// Reads `path`; the body of a 200.
    ///
    /// # Errors
    /// What the node says instead, in its own words, or why there is no answer.
    fn get(&self, path: &str) -> Result<Box<dyn Read>, CommandError>;

    /// Posts a JSON body to `path`; the body of a 200.
    ///
    /// # Errors
    /// As [`Self::get`].
    fn post(&self, path: &str, body: &serde_json::Value) -> Result<Box<dyn Read>, CommandError>;
}

/// Where a node's REST interface is unless it is set elsewhere.
pub const DEFAULT_NODE: &str = "http://127.0.0.1:8645";

/// Why a subcommand did not do its work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// Something is wrong with what was given.
    #[error("{message}; {help}")]
    Input {
        /// What.
        message: String,
        /// What to do.
        help: String,
    },
    /// It failed while running.
    #[error("{message}")]
    Runtime {
        /// How.
        message: String,
        /// What to do, if that is known.
        help: Option<String>,
    },
    /// The output cannot be written.
    #[error("the output cannot be written: {0}")]
    Output(#[from] io::Error),
}

impl CommandError {
    /// A failure while running whose message says all.
    pub fn while_running(message: impl Into<String>) -> Self {
        Self::Runtime { message: message.into(), help: None }
    }
}
