//! Request–response services that a node offers: the same handler answers direct peers and requests that came out of
//! the mixnet.

use std::sync::Arc;

use libp2p_identity::PeerId;
use tokio::sync::oneshot;

/// One request to a local service.
#[derive(Debug)]
pub struct InboundRequest {
    /// The protocol that was negotiated, or the codec of the mix message.
    pub protocol: &'static str,
    /// Who asks.
    pub from: Requester,
    /// The request without its length prefix.
    pub body: Vec<u8>,
    /// Takes the answer without its length prefix. Dropping it means that there is none.
    pub respond: oneshot::Sender<Vec<u8>>,
}

/// Who asks a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requester {
    /// A peer over its own connection.
    Peer(PeerId),
    /// Somebody behind the mixnet. All of them are one requester: services give them a budget of their own
    /// (`spec/waku.md §4.2`).
    Anonymous,
}

type Sink = dyn Fn(InboundRequest) + Send + Sync;

/// A protocol that some role of this node answers.
#[derive(Clone)]
pub struct Service {
    /// The protocol id, e.g. `/vac/waku/lightpush/3.0.0`.
    pub protocol: &'static str,
    /// The longest request body that is read, in bytes.
    pub max_request: usize,
    sink: Arc<Sink>,
}

impl Service {
    /// A service whose requests go to `sink`. A sink must not wait: it queues a request, answers that it is overloaded,
    /// or drops it.
    pub fn new(
        protocol: &'static str,
        max_request: usize,
        sink: impl Fn(InboundRequest) + Send + Sync + 'static,
    ) -> Self {
        Self { protocol, max_request, sink: Arc::new(sink) }
    }

    /// Hands a request over. Its answer, if there is one, comes through [`InboundRequest::respond`].
    pub fn submit(&self, request: InboundRequest) {
        (self.sink)(request);
    }
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("protocol", &self.protocol).field("max_request", &self.max_request).finish()
    }
}

/// All services of a node. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Services(Arc<[Service]>);

impl Services {
    /// Collects services; the first of two with the same protocol wins.
    pub fn new(services: Vec<Service>) -> Self {
        Self(services.into())
    }

    /// The service for a protocol id.
    pub fn get(&self, protocol: &str) -> Option<&Service> {
        self.0.iter().find(|service| service.protocol == protocol)
    }

    /// Every service.
    pub fn iter(&self) -> impl Iterator<Item = &Service> {
        self.0.iter()
    }
}
