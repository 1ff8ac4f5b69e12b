//! How replies reach this node: where their headers say it is, and which nodes may be the hop before it, without I/O.
//!
//! | this node | last hop of its replies |
//! |---|---|
//! | can be dialled | any |
//! | does not know, or can be dialled through a circuit relay only | one that it is connected to, if there are at least three |
//! | cannot be dialled, or has no address at all | one that it is connected to |

use std::collections::BTreeSet;

use libp2p_identity::PeerId;
use wakumix_mix::{HopAddress, MixNode};
use wakumix_role_api::{Directory, LocalNode, host::Reachability, sender::PushFailure};

/// Connected nodes from which a last hop is drawn that need not be connected: with fewer, one of them would see too large
/// a share of this node's replies.
const MIN_CONNECTED: usize = 3;

/// This node as the end of its reply paths.
pub(crate) struct WayBack {
    /// Its address, or what stands for one.
    pub(crate) me: MixNode,
    last_hop: LastHop,
}

/// Which nodes may be the hop before this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LastHop {
    /// All.
    Any,
    /// Connected ones if there are enough.
    RatherConnected,
    /// Connected ones.
    Connected,
}

impl WayBack {
    /// The way back to a node.
    ///
    /// # Errors
    /// [`PushFailure::NoReplyAddress`] if it has neither an address that a header can carry nor a connection to the pool.
    pub(crate) fn to(node: &LocalNode, directory: &Directory) -> Result<Self, PushFailure> {
        let address = node.hop_address.borrow().clone();
        let last_hop = match &address {
            None if directory.connected.is_empty() => return Err(PushFailure::NoReplyAddress),
            None => LastHop::Connected,
            Some(address) => last_hop(node.reachability(), address),
        };
        let placeholder = || HopAddress::placeholder(node.peer).map_err(|_| PushFailure::NoReplyAddress);
        let address = address.map_or_else(placeholder, Ok)?;
        let me = MixNode { family: directory.own_family, ..MixNode::new(address, node.mix_public_key()) };
        Ok(Self { me, last_hop })
    }

    /// The way back to a node that anybody can dial.
    #[cfg(test)]
    pub(crate) fn from_anywhere(me: MixNode) -> Self {
        Self { me, last_hop: LastHop::Any }
    }

    /// The way back to a node that nobody can dial.
    #[cfg(test)]
    pub(crate) fn from_connected(me: MixNode) -> Self {
        Self { me, last_hop: LastHop::Connected }
    }

    /// The only nodes that may be the hop before this one on a way back that avoids `excluded`; `None` if all may.
    pub(crate) fn last_hops<'d>(&self, directory: &'d Directory, excluded: &[PeerId]) -> Option<&'d BTreeSet<PeerId>> {
        let has_enough = || {
            let connected = directory.mix_nodes.iter().map(MixNode::peer).filter(|peer| {
                directory.connected.contains(peer) && *peer != self.me.peer() && !excluded.contains(peer)
            });
            connected.take(MIN_CONNECTED).count() == MIN_CONNECTED
        };
        let is_limited = match self.last_hop {
            LastHop::Any => false,
            LastHop::RatherConnected => has_enough(),
            LastHop::Connected => true,
        };
        is_limited.then_some(&directory.connected)
    }
}

fn last_hop(reachability: Reachability, address: &HopAddress) -> LastHop {
    match reachability {
        Reachability::Public => LastHop::Any,
        Reachability::Private if address.relay().is_none() => LastHop::Connected,
        Reachability::Private | Reachability::Unknown => LastHop::RatherConnected,
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;
    use wakumix_keyring::KeyRing;
    use wakumix_role_api::host::HostAddresses;
    use wakumix_sphinx::PrivateKey;

    use super::*;
    use crate::testing::{node, peer};

    fn way_back(
        address: Option<HopAddress>,
        reachability: Reachability,
        directory: &Directory,
    ) -> Result<WayBack, PushFailure> {
        let host = HostAddresses { reachability, ..HostAddresses::default() };
        let node = LocalNode {
            peer: peer(99),
            mix_keys: KeyRing::fixed(PrivateKey::from_bytes([7; 32]), 1),
            hop_address: watch::channel(address).1,
            addresses: watch::channel(host).1,
        };
        WayBack::to(&node, directory)
    }

    /// Eight nodes; this one is connected to the first so many.
    fn directory(connected: u8) -> Directory {
        Directory {
            mix_nodes: (0..8).map(node).collect(),
            connected: (0..connected).map(peer).collect(),
            ..Directory::default()
        }
    }

    fn is_limited(address: Option<HopAddress>, reachability: Reachability, connected: u8, excluded: &[PeerId]) -> bool {
        let directory = directory(connected);
        way_back(address, reachability, &directory).unwrap().last_hops(&directory, excluded).is_some()
    }

    #[test]
    fn only_a_node_that_cannot_be_dialled_depends_on_its_connections() {
        let relayed = format!("/ip4/10.0.0.1/tcp/1/p2p/{}/p2p-circuit", peer(50)).parse().unwrap();
        let relayed = HopAddress::from_multiaddr(&relayed, peer(99)).unwrap();
        let direct = node(99).address;
        for (address, reachability, limited) in [
            (Some(&direct), Reachability::Public, [false, false, false]),
            (Some(&direct), Reachability::Unknown, [false, false, true]),
            (Some(&relayed), Reachability::Private, [false, false, true]),
            (Some(&direct), Reachability::Private, [true, true, true]),
        ] {
            let found = [0, 2, 3].map(|connected| is_limited(address.cloned(), reachability, connected, &[]));
            assert_eq!(found, limited, "{address:?} {reachability:?}");
        }
        assert!(is_limited(None, Reachability::Unknown, 1, &[]));
    }

    #[test]
    fn the_exit_is_not_among_the_connected_nodes_that_count() {
        let address = Some(node(99).address);
        assert!(!is_limited(address.clone(), Reachability::Unknown, 3, &[peer(1)]));
        assert!(is_limited(address, Reachability::Unknown, 4, &[peer(1)]));
    }

    #[test]
    fn a_node_without_address_is_named_by_its_peer_id_alone() {
        let directory = directory(1);
        let me = way_back(None, Reachability::Unknown, &directory).unwrap().me;
        assert_eq!(Ok(me.address), HopAddress::placeholder(peer(99)));
    }

    #[test]
    fn without_address_and_connection_there_is_no_way_back() {
        let refused = way_back(None, Reachability::Private, &directory(0)).err();
        assert_eq!(refused, Some(PushFailure::NoReplyAddress));
    }
}
