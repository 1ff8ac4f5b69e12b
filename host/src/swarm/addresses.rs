//! What the host does with what it learns of its addresses: tells its owner and the swarm, and reserves at relays.

use libp2p::{PeerId, identify, relay::client, swarm::ConnectionId};
use tokio::time::Instant;
use wakumix_role_api::host::Reachability;

use super::Host;

impl Host {
    /// Brings everything that depends on the node's addresses up to date.
    pub(super) fn look_after_addresses(&mut self, now: Instant) {
        let mut addresses = self.nat.addresses(now);
        addresses.is_full = self.swarm.behaviour_mut().limits.is_full(now);
        let told = self.nat.told(&addresses);
        for address in self.told.iter().filter(|address| !told.contains(address)) {
            self.swarm.remove_external_address(address);
        }
        for address in told.iter().filter(|address| !self.told.contains(address)) {
            self.swarm.add_external_address(address.clone());
        }
        self.told = told;
        self.metrics.addresses(&addresses);
        self.look_after_reservations(addresses.reachability == Reachability::Private, now);
        self.addresses.send_if_modified(|current| {
            let is_news = *current != addresses;
            if is_news {
                tracing::debug!(?addresses, "this node's addresses");
                *current = addresses;
            }
            is_news
        });
    }

    fn look_after_reservations(&mut self, needed: bool, now: Instant) {
        for listener in self.nat.reservations.superfluous(needed) {
            // Its end is an event of the swarm.
            self.swarm.remove_listener(listener);
        }
        for (relay, address) in self.nat.reservations.due(needed, now) {
            match self.swarm.listen_on(address) {
                Ok(listener) => self.nat.reservations.asked(&relay, listener),
                Err(error) => {
                    tracing::debug!(%relay, %error, "no reservation can be asked for");
                    self.nat.reservations.refused(&relay, now);
                }
            }
        }
    }

    /// What a peer's identity says about this node's addresses.
    pub(super) fn look_at_identity(&mut self, connection: ConnectionId, peer: PeerId, info: &identify::Info) {
        let now = Instant::now();
        let dials_back = self.nat.identified(connection, peer, info, now);
        if let Some(autonat) = self.swarm.behaviour_mut().autonat.as_mut().filter(|_| dials_back) {
            autonat.ask(peer);
        }
        self.look_after_addresses(now);
    }

    /// A peer is gone that may have been asked to dial this node.
    pub(super) fn forget_dialler(&mut self, peer: &PeerId) {
        if let Some(autonat) = self.swarm.behaviour_mut().autonat.as_mut() {
            autonat.forget(peer);
        }
    }

    pub(super) fn on_circuits(&mut self, event: &client::Event) {
        if let client::Event::ReservationReqAccepted { relay_peer_id, .. } = event {
            let now = Instant::now();
            self.nat.reservations.granted(relay_peer_id, now);
            self.look_after_addresses(now);
        }
    }
}
