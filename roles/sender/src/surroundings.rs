//! What the client knows of the network and of its node, kept as new as the node's own knowledge.

use std::{collections::BTreeSet, sync::Arc};

use libp2p_identity::PeerId;
use wakumix_client::{DirectorySnapshot, Input, OwnNode, ServiceEntry, ServiceKind};
use wakumix_mix::HopAddress;
use wakumix_role_api::{Address, Directory, DirectoryReader, LocalNode, directory::ServiceNode, sender::SenderMessage};

use crate::shell::Shell;

/// The last inputs of the client.
pub(crate) struct Surroundings {
    directory: Arc<Directory>,
    connected: BTreeSet<PeerId>,
    own: OwnNode,
}

impl Surroundings {
    /// Nothing but who it is.
    pub(crate) fn of(own: OwnNode) -> Self {
        Self { directory: Arc::default(), connected: BTreeSet::new(), own }
    }

    /// What has changed since the last call.
    pub(crate) fn news(&mut self, shell: &Shell) -> Vec<Input> {
        let mut news = Vec::new();
        let own = own_node(&shell.node);
        if own != self.own {
            self.own = own.clone();
            news.push(Input::OwnNode(own));
        }
        let directory = shell.directory.snapshot();
        if Arc::ptr_eq(&directory, &self.directory) {
            return news;
        }
        let connected = &directory.connected;
        news.extend(self.connected.difference(connected).copied().map(Input::Disconnected));
        news.extend(connected.difference(&self.connected).copied().map(Input::Connected));
        news.push(Input::Directory(Arc::new(snapshot(&directory))));
        self.connected.clone_from(connected);
        self.directory = directory;
        news
    }
}

/// This node as the client sees it.
pub(crate) fn own_node(node: &LocalNode) -> OwnNode {
    OwnNode {
        peer: node.peer,
        address: node.hop_address.borrow().clone(),
        key: node.mix_public_key(),
        reachability: node.reachability(),
    }
}

/// The directory as the client sees it.
pub(crate) fn snapshot(directory: &Directory) -> DirectorySnapshot {
    DirectorySnapshot {
        mix_nodes: directory.mix_nodes.clone(),
        services: directory.lightpush.iter().map(service).collect(),
        pool: directory.pool,
        is_searching: directory.is_searching,
        own_family: directory.own_family,
        guards: directory.guards.clone(),
        independent: directory.independent,
    }
}

fn service(node: &ServiceNode) -> ServiceEntry {
    let address = node.addresses.iter().find_map(|address| HopAddress::from_multiaddr(address, node.peer).ok());
    ServiceEntry { kind: ServiceKind::LIGHTPUSH, peer: node.peer, address, shards: node.shards.clone() }
}

/// Has the actor look at the directory whenever that changes, until discovery stops.
pub(crate) async fn follow_directory(mut directory: DirectoryReader, sender: Address<SenderMessage>) {
    while directory.changed().await {
        if sender.send(SenderMessage::Client(Box::new(Input::Tick))).await.is_err() {
            return;
        }
    }
}
