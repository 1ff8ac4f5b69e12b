//! The messages of the discovery actor: one enum, without the actor.

use std::{net::IpAddr, sync::Arc};

use libp2p_identity::PeerId;
use tokio::sync::oneshot;
use wakumix_role_api::host::PeerEvent;

use crate::{
    entry::PeerAddress,
    names::Name,
    peer_report::{KnownRecord, PeerReport, Refusal, Remembered, SourceName},
    pool::{Checked, PoolEntry},
};

/// A message to discovery. Those with `done` are acknowledged once they are taken.
#[derive(Debug)]
pub(crate) enum DiscoveryMessage {
    /// Records were found.
    Found { source: SourceName, reports: Vec<PeerReport>, done: oneshot::Sender<()> },
    /// An earlier run knew of nodes.
    Remembered { source: SourceName, nodes: Vec<Remembered>, done: oneshot::Sender<()> },
    /// Something that was received is no record that could be reported.
    Refused { source: SourceName, refusal: Refusal, count: u64 },
    /// A source has asked somebody.
    LookedUp { source: SourceName, answered: bool },
    /// The operator's peers to stay connected to.
    Keep { peers: Vec<PeerAddress>, done: oneshot::Sender<()> },
    /// Whoever asks waits until the directory shows all that was taken before.
    Shown { done: oneshot::Sender<()> },
    /// What is known of every peer.
    Known { reply: oneshot::Sender<Arc<[KnownRecord]>> },
    /// Every mix node and its state.
    Pool { reply: oneshot::Sender<Vec<PoolEntry>> },
    /// Something happened to a connection.
    Event(PeerEvent),
    /// These peers are connected, whatever events were missed.
    Connected(Vec<PeerId>),
    /// A check has ended.
    Checked { peer: PeerId, checked: Checked },
    /// A name was looked up; no address if it has none.
    Resolved { name: Name, ips: Vec<IpAddr> },
    /// What is worth keeping for a later run.
    Memory { reply: oneshot::Sender<Vec<Remembered>> },
    /// The pace allows the next snapshot.
    Show,
    /// Time has passed.
    Tick,
}

impl DiscoveryMessage {
    /// That records were found, with the acknowledgement that comes last.
    pub(crate) fn found(source: SourceName, reports: Vec<PeerReport>) -> impl FnOnce(oneshot::Sender<()>) -> Self {
        move |done| Self::Found { source, reports, done }
    }
}
