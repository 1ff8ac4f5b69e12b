//! Where knowledge comes from. One interface; each kind of discovery is a source of its own.

use futures::future::BoxFuture;
use tokio::sync::oneshot;
use wakumix_mix::MixNode;
use wakumix_role_api::{Address, directory::ServiceNode};

use crate::actor::DiscoveryMessage;

/// Something that finds nodes.
pub trait Source: Send + Sync + 'static {
    /// Reports what it finds until there is nothing more to find, or for ever. It is started anew after a panic of the
    /// actor and then reports everything again.
    fn run(&self, findings: Findings) -> BoxFuture<'static, ()>;
}

/// Takes what a source finds. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Findings {
    address: Address<DiscoveryMessage>,
}

impl Findings {
    pub(crate) fn new(address: Address<DiscoveryMessage>) -> Self {
        Self { address }
    }

    /// Mix nodes were found. True once the directory shows them; false when discovery has stopped.
    ///
    /// Cancel safe: yes; the nodes are then added or not.
    pub async fn mix_nodes(&self, nodes: Vec<MixNode>) -> bool {
        self.report(|done| DiscoveryMessage::MixNodes { nodes, done }).await
    }

    /// Lightpush services were found; else as [`Self::mix_nodes`].
    pub async fn lightpush(&self, services: Vec<ServiceNode>) -> bool {
        self.report(|done| DiscoveryMessage::Lightpush { services, done }).await
    }

    /// So many mix nodes are known by a name that has no address yet.
    pub async fn unresolved(&self, count: usize) -> bool {
        self.report(|done| DiscoveryMessage::Unresolved { count, done }).await
    }

    async fn report(&self, message: impl FnOnce(oneshot::Sender<()>) -> DiscoveryMessage) -> bool {
        let (done, handled) = oneshot::channel();
        self.address.send(message(done)).await.is_ok() && handled.await.is_ok()
    }
}
