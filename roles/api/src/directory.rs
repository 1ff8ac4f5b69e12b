//! The directory: which mix nodes and services are known. Everyone reads one immutable snapshot.

use std::sync::Arc;

use libp2p_identity::PeerId;
use multiaddr::Multiaddr;
use tokio::sync::watch;
use wakumix_mix::MixNode;

/// One snapshot of what discovery knows.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    /// The mix pool: nodes that a header can address and whose key is known. This node is not among them.
    pub mix_nodes: Vec<MixNode>,
    /// Nodes that serve lightpush, in the order of preference. Those that are also in the pool serve as exit and
    /// destination at once; the others are reached through an exit.
    pub lightpush: Vec<ServiceNode>,
}

/// A node that serves a request–response protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceNode {
    /// Its peer id.
    pub peer: PeerId,
    /// Where it listens, without `/p2p`.
    pub addresses: Vec<Multiaddr>,
}

impl Directory {
    /// The pool entry of a peer.
    pub fn mix_node(&self, peer: &PeerId) -> Option<&MixNode> {
        self.mix_nodes.iter().find(|node| node.peer() == *peer)
    }
}

/// Reads the newest snapshot without locks held. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DirectoryReader(watch::Receiver<Arc<Directory>>);

/// Replaces the snapshot; held by discovery alone.
#[derive(Debug)]
pub struct DirectoryPublisher(watch::Sender<Arc<Directory>>);

impl DirectoryPublisher {
    /// An empty directory and its first reader.
    pub fn new() -> (Self, DirectoryReader) {
        let (sender, receiver) = watch::channel(Arc::default());
        (Self(sender), DirectoryReader(receiver))
    }

    /// Replaces the snapshot.
    pub fn publish(&self, directory: Directory) {
        self.0.send_replace(Arc::new(directory));
    }
}

impl DirectoryReader {
    /// The newest snapshot.
    pub fn snapshot(&self) -> Arc<Directory> {
        Arc::clone(&self.0.borrow())
    }

    /// Waits for the next snapshot; false when discovery has stopped.
    ///
    /// Cancel safe: yes.
    pub async fn changed(&mut self) -> bool {
        self.0.changed().await.is_ok()
    }
}
