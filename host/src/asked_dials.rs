//! Dials that an operator waits for.

use std::collections::HashMap;

use libp2p::{
    Multiaddr, PeerId, Swarm,
    swarm::{ConnectionId, dial_opts::PeerCondition},
};
use tokio::sync::oneshot;

use crate::{behaviour::HostBehaviour, transport::dial};

/// Dials that may be open. Overflow: the newest is refused.
const MAX_OPEN: usize = 64;

/// Who waits for which dial. Bound: [`MAX_OPEN`].
#[derive(Debug, Default)]
pub(crate) struct AskedDials(HashMap<ConnectionId, oneshot::Sender<bool>>);

impl AskedDials {
    /// Dials a peer, unless it is connected.
    pub(crate) fn begin(
        &mut self,
        swarm: &mut Swarm<HostBehaviour>,
        peer: PeerId,
        addresses: Vec<Multiaddr>,
        reply: oneshot::Sender<bool>,
    ) {
        // Who has gone needs no reply, here and below.
        if swarm.is_connected(&peer) {
            let _ = reply.send(true);
            return;
        }
        if self.0.len() >= MAX_OPEN {
            return;
        }
        let options = dial(peer, addresses, PeerCondition::Disconnected);
        let connection = options.connection_id();
        match swarm.dial(options) {
            Ok(()) => _ = self.0.insert(connection, reply),
            Err(_) => _ = reply.send(false),
        }
    }

    /// A dial has ended.
    pub(crate) fn ended(&mut self, connection: ConnectionId, is_connected: bool) {
        if let Some(reply) = self.0.remove(&connection) {
            let _ = reply.send(is_connected);
        }
    }
}
