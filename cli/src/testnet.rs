//! `wakumix testnet`: a whole test net in one process.

use std::io;

use wakumix_node::runtime;
use wakumix_testnet::{Options, TestnetError};

use super::Failure;

/// Run a whole test net in one process
///
/// Starts relays, mixers, exits and senders on loopback sockets, sends messages through three mix hops, waits until
/// every answer came back through a reply block and every relay has every message, and reports. Exit code 0 if all
/// of that held and every packet is accounted for. With --loss, --kill-mixers or --kill-exits it is enough that 99.9 % of
/// the messages are answered, and that each of these is received.
#[derive(Debug, clap::Args)]
pub(super) struct TestnetCommand {
    #[command(flatten)]
    options: Options,
}

impl TestnetCommand {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let ended = runtime::block_on(wakumix_testnet::run(self.options.clone())).map_err(Failure::while_running)?;
        match ended {
            Ok(true) => Ok(()),
            Ok(false) => Err(Failure::while_running("the test net did not deliver everything; see the report")),
            Err(TestnetError::Options(problems)) => Err(Failure::Input(problems)),
            Err(TestnetError::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::Output(error)),
            Err(error) => Err(Failure::while_running(error)),
        }
    }
}
