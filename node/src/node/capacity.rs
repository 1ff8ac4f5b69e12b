//! How much each queue of a node holds.

use crate::config::Config;

/// Commands to the host; a command carries a batch of packets.
pub(super) const HOST: usize = 1024;
/// Batches from the network and packets made here that wait for the mixer.
pub(super) const MIXER: usize = 256;
/// Packets that wait for the exit: as many as it works on at a time by default.
pub(super) const EXIT: usize = 256;
/// Requests and replies that wait for the sender.
pub(super) const SENDER: usize = 1024;
/// Gossip, lightpush requests and local publishing that wait for the relay.
pub(super) const RELAY: usize = 1024;

/// Packets that the node can hold at once.
pub(super) fn buffers(config: &Config) -> usize {
    count(config.mix.buffers)
}

/// A configured number; every platform that this runs on counts at least to 2³².
pub(super) fn count(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
