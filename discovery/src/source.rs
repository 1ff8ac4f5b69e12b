//! Where knowledge comes from. One interface; each kind of discovery is its own source.

use std::{io, net::SocketAddr, sync::Arc};

use futures::future::BoxFuture;
use libp2p_identity::Keypair;
use tokio::sync::{broadcast, watch};
use wakumix_role_api::{
    Address, DirectoryReader, Service,
    host::{HostHandle, PeerEvent},
};
use wakumix_telemetry::Telemetry;

use crate::{
    local::LocalRecord,
    messages::DiscoveryMessage,
    own_record::OwnRecord,
    peer_report::{KnownRecord, PeerReport, Refusal, Remembered, SourceName},
    sources::Resolver,
};

/// A source could not take what it needs.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot listen on {address} (UDP): {error}", source_name.as_str())]
pub struct PrepareError {
    /// Which.
    pub source_name: SourceName,
    /// Where it should listen.
    pub address: SocketAddr,
    /// Why it cannot.
    pub error: io::Error,
}

/// Something that finds nodes, and tells others of this one.
pub trait Source: Send + Sync + 'static {
    /// Which it is.
    fn name(&self) -> SourceName;

    /// The request–response protocols that it answers.
    fn services(&self) -> Vec<Service> {
        Vec::new()
    }

    /// Takes what must be there before anything runs, such as a port, and tells the own record of it. Called once; does
    /// not wait.
    ///
    /// # Errors
    /// [`PrepareError`], for the operator.
    fn prepare(&self, own: &OwnRecord) -> Result<(), PrepareError> {
        let _ = own;
        Ok(())
    }

    /// Reports what it finds until there is nothing more to find, or forever. It is started anew after a panic of the
    /// actor and then reports everything again; the future may be dropped at any await.
    fn run(&self, context: SourceContext) -> BoxFuture<'static, ()>;
}

/// What a source works with. Cheap to clone.
#[derive(Clone)]
pub struct SourceContext {
    /// Takes what it finds.
    pub reports: PeerReports,
    /// Sends requests to peers.
    pub host: HostHandle,
    /// What is known already.
    pub directory: DirectoryReader,
    /// What this node tells of itself.
    pub local: watch::Receiver<Arc<LocalRecord>>,
    /// Signs what it tells.
    pub identity: Keypair,
    /// Resolves names.
    pub resolver: Resolver,
    /// Metrics of this node.
    pub telemetry: Telemetry,
}

/// Takes what a source finds. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PeerReports {
    source: SourceName,
    address: Address<DiscoveryMessage>,
    events: broadcast::Sender<PeerEvent>,
}

impl PeerReports {
    pub(crate) fn new(
        source: SourceName,
        address: Address<DiscoveryMessage>,
        events: broadcast::Sender<PeerEvent>,
    ) -> Self {
        Self { source, address, events }
    }

    /// Records were found. Those that break a rule are refused and counted one by one; the rest is taken. True once that is
    /// done, and the next snapshot shows them; false when discovery has stopped.
    ///
    /// Cancel safe: yes; the records are then taken or not.
    pub async fn report(&self, reports: Vec<PeerReport>) -> bool {
        let source = self.source;
        self.address.ask(|done| DiscoveryMessage::Found { source, reports, done }).await.is_some()
    }

    /// An earlier run, or an instance that panicked, knew of these nodes; else as [`Self::report`].
    pub(crate) async fn remember(&self, nodes: Vec<Remembered>) -> bool {
        let source = self.source;
        self.address.ask(|done| DiscoveryMessage::Remembered { source, nodes, done }).await.is_some()
    }

    /// Counts things that were received and are no records that could be reported.
    pub fn refuse(&self, refusal: Refusal, count: u64) {
        // Only a count is lost when the queue is full.
        let _ = self.address.try_send(DiscoveryMessage::Refused { source: self.source, refusal, count });
    }

    /// Counts a look-up of this source and whether it was answered.
    pub fn looked_up(&self, answered: bool) {
        let _ = self.address.try_send(DiscoveryMessage::LookedUp { source: self.source, answered });
    }

    /// What is known of every peer whose records are not over, for sources that pass it on: one peer report, merged, for each
    /// signed record of the peer, those first that were reached. At most a second old; empty when discovery has stopped.
    pub async fn known(&self) -> Arc<[KnownRecord]> {
        self.address.ask(|reply| DiscoveryMessage::Known { reply }).await.unwrap_or_else(|| Arc::new([]))
    }

    /// Follows what happens to connections. A reader that lags misses events.
    #[must_use]
    pub fn peer_events(&self) -> broadcast::Receiver<PeerEvent> {
        self.events.subscribe()
    }
}
