//! The return route: where the headers of replies say that this node is, and which nodes may be the hop before it.
//!
//! | this node | last hop of its replies |
//! |---|---|
//! | can be dialled | any |
//! | does not know, or can be dialled through a circuit relay only | one that it is connected to, if there are at least three |
//! | cannot be dialled, or has no address at all | one that it is connected to |

use std::collections::BTreeSet;

use libp2p_identity::PeerId;
use wakumix_mix::{HopAddress, MixNode};

use crate::{ClientError, DirectorySnapshot, OwnNode, Reachability};

/// Connected nodes from which a last hop is drawn that need not be connected: with fewer, one of them would see too large
/// a share of this node's replies.
const MIN_CONNECTED: usize = 3;

/// The pool nodes that this node is connected to.
pub(crate) type Connected = BTreeSet<PeerId>;

/// This node as the end of its reply paths.
#[derive(Debug)]
pub(crate) struct ReturnRoute {
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

impl ReturnRoute {
    /// The return route to a node.
    ///
    /// # Errors
    /// [`ClientError::NoReplyAddress`] if it has neither an address that a header can carry nor a connection to the pool.
    pub(crate) fn to(
        node: &OwnNode,
        directory: &DirectorySnapshot,
        connected: &Connected,
    ) -> Result<Self, ClientError> {
        let last_hop = match &node.address {
            None if connected.is_empty() => return Err(ClientError::NoReplyAddress),
            None => LastHop::Connected,
            Some(address) => last_hop(node.reachability, address),
        };
        let placeholder = || HopAddress::placeholder(node.peer).map_err(|_| ClientError::NoReplyAddress);
        let address = node.address.clone().map_or_else(placeholder, Ok)?;
        let me = MixNode { family: directory.own_family, ..MixNode::new(address, node.key) };
        Ok(Self { me, last_hop })
    }

    /// The return route to a node that anybody can dial.
    #[cfg(test)]
    pub(crate) fn from_anywhere(me: MixNode) -> Self {
        Self { me, last_hop: LastHop::Any }
    }

    /// The return route to a node that nobody can dial.
    #[cfg(test)]
    pub(crate) fn from_connected(me: MixNode) -> Self {
        Self { me, last_hop: LastHop::Connected }
    }

    /// The only nodes that may be the hop before this one on a reply path that avoids `excluded`; `None` if all may. It does
    /// not ask for guards.
    pub(crate) fn last_hops<'c>(
        &self,
        directory: &DirectorySnapshot,
        connected: &'c Connected,
        excluded: &[PeerId],
    ) -> Option<&'c Connected> {
        let has_enough = || {
            let usable = directory
                .mix_nodes
                .iter()
                .map(MixNode::peer)
                .filter(|peer| connected.contains(peer) && *peer != self.me.peer() && !excluded.contains(peer));
            usable.take(MIN_CONNECTED).count() == MIN_CONNECTED
        };
        let is_limited = match self.last_hop {
            LastHop::Any => false,
            LastHop::RatherConnected => has_enough(),
            LastHop::Connected => true,
        };
        is_limited.then_some(connected)
    }
}

/// Where the replies of a node are sent; `None` if they come over its own connections alone.
#[must_use]
pub fn reply_address(
    node: &OwnNode,
    directory: &DirectorySnapshot,
    connected: &BTreeSet<PeerId>,
) -> Option<HopAddress> {
    let route = ReturnRoute::to(node, directory, connected).ok()?;
    (route.last_hop != LastHop::Connected).then_some(route.me.address)
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
    use wakumix_sphinx::PrivateKey;

    use super::*;
    use crate::testing::{node, peer};

    fn return_route(
        address: Option<HopAddress>,
        reachability: Reachability,
        connected: &Connected,
    ) -> Result<ReturnRoute, ClientError> {
        let own = OwnNode { peer: peer(99), address, key: PrivateKey::from_bytes([7; 32]).public(), reachability };
        ReturnRoute::to(&own, &directory(), connected)
    }

    fn directory() -> DirectorySnapshot {
        DirectorySnapshot { mix_nodes: (0..8).map(node).collect(), ..DirectorySnapshot::default() }
    }

    /// The first so many of the directory's nodes.
    fn connected(count: u8) -> Connected {
        (0..count).map(peer).collect()
    }

    fn is_limited(address: Option<HopAddress>, reachability: Reachability, count: u8, excluded: &[PeerId]) -> bool {
        let connected = connected(count);
        let route = return_route(address, reachability, &connected).unwrap();
        route.last_hops(&directory(), &connected, excluded).is_some()
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
        let me = return_route(None, Reachability::Unknown, &connected(1)).unwrap().me;
        assert_eq!(Ok(me.address), HopAddress::placeholder(peer(99)));
    }

    #[test]
    fn replies_are_sent_to_an_address_that_others_may_reach() {
        let address = |address: Option<HopAddress>, reachability| {
            let own = OwnNode { peer: peer(99), address, key: PrivateKey::from_bytes([7; 32]).public(), reachability };
            reply_address(&own, &directory(), &connected(3))
        };
        let own = Some(node(99).address);
        for (known, reachability, sent_to) in [
            (own.clone(), Reachability::Public, own.clone()),
            (own.clone(), Reachability::Unknown, own.clone()),
            (own, Reachability::Private, None),
            (None, Reachability::Unknown, None),
        ] {
            assert_eq!(address(known, reachability), sent_to, "{reachability:?}");
        }
    }

    #[test]
    fn without_address_and_connection_there_is_no_return_route() {
        let refused = return_route(None, Reachability::Private, &connected(0)).err();
        assert_eq!(refused, Some(ClientError::NoReplyAddress));
    }
}
