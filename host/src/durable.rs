//! What outlives a panic of the host.

use std::collections::BTreeSet;

use libp2p::{Multiaddr, PeerId};

/// What the roles have asked for, and who must hear that connections are gone.
#[derive(Debug, Default)]
pub(crate) struct Durable {
    pub(crate) kept: Vec<Multiaddr>,
    pub(crate) topics: BTreeSet<String>,
    pub(crate) connected: BTreeSet<PeerId>,
}
