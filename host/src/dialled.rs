//! The connections that this node opened, and whether their peers have said anything over them.

use std::collections::HashMap;

use libp2p::{Multiaddr, PeerId, swarm::ConnectionId};

/// Connections that this node opened. Bound: connections.
#[derive(Debug, Default)]
pub(crate) struct Dialled(HashMap<ConnectionId, Own>);

#[derive(Debug)]
struct Own {
    peer: PeerId,
    address: Multiaddr,
    /// The peer has told what it is.
    has_spoken: bool,
}

impl Dialled {
    /// A connection that this node opened is up.
    pub(crate) fn connected(&mut self, connection: ConnectionId, peer: PeerId, address: Multiaddr) {
        self.0.insert(connection, Own { peer, address, has_spoken: false });
    }

    /// A peer has told what it is; where this node dialled it, if it did.
    pub(crate) fn spoke(&mut self, connection: ConnectionId) -> Option<Multiaddr> {
        let own = self.0.get_mut(&connection)?;
        own.has_spoken = true;
        Some(own.address.clone())
    }

    /// A connection is gone; true if it was the last one over which its peer has spoken.
    pub(crate) fn closed(&mut self, connection: ConnectionId) -> bool {
        let Some(gone) = self.0.remove(&connection) else { return false };
        gone.has_spoken && !self.0.values().any(|own| own.peer == gone.peer && own.has_spoken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_lost_with_the_last_connection_over_which_it_spoke() {
        let (mut dialled, peer) = (Dialled::default(), PeerId::random());
        let address: Multiaddr = "/ip4/192.0.2.1/tcp/1".parse().unwrap();
        let [first, second, silent] = [1, 2, 3].map(ConnectionId::new_unchecked);
        for connection in [first, second, silent] {
            dialled.connected(connection, peer, address.clone());
        }
        assert_eq!(
            [first, second].map(|connection| dialled.spoke(connection)),
            [(); 2].map(|()| Some(address.clone()))
        );
        assert_eq!(dialled.spoke(ConnectionId::new_unchecked(9)), None, "one that the peer opened");
        assert_eq!([first, second, silent].map(|connection| dialled.closed(connection)), [false, true, false]);
        assert!(dialled.0.is_empty());
    }
}
