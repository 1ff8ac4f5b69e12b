//! Peers whose gossip does not get away.
//!
//! A reader that ends its stream is not noticed by gossipsub's writer: it fills the window of the stream, then its queue, and
//! from then on every message for the peer is lost while the connection looks sound. gossipsub reports such a peer with each
//! heartbeat in which a message found the queue full, or waited in it for more than five seconds. A new connection has new
//! streams.
//!
//! A stream on which messages only come late is alive: this node may be what is slow, and would part with all honest peers at once.

use std::{collections::HashMap, time::Duration};

use libp2p::PeerId;
use tokio::time::Instant;

/// Heartbeats with lost messages after which a peer is disconnected: about ten seconds of a busy topic.
const MAX_SLOW_HEARTBEATS: u32 = 10;

/// After such a time without losses a peer starts anew. On a quiet topic a dead stream is reported only when there is
/// something to send.
const FORGIVEN_AFTER: Duration = Duration::from_secs(60);

/// Peers for which messages were lost. Bound: connected peers.
#[derive(Debug, Default)]
pub(crate) struct SlowPeers(HashMap<PeerId, Slow>);

#[derive(Debug)]
struct Slow {
    heartbeats: u32,
    last: Instant,
}

impl SlowPeers {
    /// gossipsub reports a peer. Whether it is to be disconnected.
    pub(crate) fn reported(&mut self, peer: PeerId, now: Instant) -> bool {
        let slow = self.0.entry(peer).or_insert(Slow { heartbeats: 0, last: now });
        if now.saturating_duration_since(slow.last) >= FORGIVEN_AFTER {
            slow.heartbeats = 0;
        }
        *slow = Slow { heartbeats: slow.heartbeats + 1, last: now };
        let is_over = slow.heartbeats >= MAX_SLOW_HEARTBEATS;
        if is_over {
            self.0.remove(&peer);
        }
        is_over
    }

    /// The stream to a peer moves.
    pub(crate) fn moved(&mut self, peer: &PeerId) {
        self.0.remove(peer);
    }

    /// The last connection to a peer is gone.
    pub(crate) fn disconnected(&mut self, peer: &PeerId) {
        self.0.remove(peer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEARTBEAT: Duration = Duration::from_secs(1);

    fn reports(slow: &mut SlowPeers, peer: PeerId, times: u32, pause: Duration, now: &mut Instant) -> Vec<bool> {
        let mut found = Vec::new();
        for _ in 0..times {
            *now += pause;
            found.push(slow.reported(peer, *now));
        }
        found
    }

    #[test]
    fn a_peer_is_over_after_ten_slow_heartbeats_however_far_apart() {
        for pause in [HEARTBEAT, HEARTBEAT * 30] {
            let (mut slow, peer, mut now) = (SlowPeers::default(), PeerId::random(), Instant::now());
            let found = reports(&mut slow, peer, 10, pause, &mut now);
            assert_eq!(found, [vec![false; 9], vec![true]].concat(), "{pause:?}");
            assert!(slow.0.is_empty());
        }
    }

    #[test]
    fn a_peer_that_keeps_up_again_or_whose_stream_moves_starts_anew_and_so_does_a_new_connection() {
        let (mut slow, peer, mut now) = (SlowPeers::default(), PeerId::random(), Instant::now());
        reports(&mut slow, peer, 9, HEARTBEAT, &mut now);
        now += FORGIVEN_AFTER;
        assert_eq!(reports(&mut slow, peer, 9, HEARTBEAT, &mut now), [false; 9]);
        slow.disconnected(&peer);
        assert_eq!(reports(&mut slow, peer, 9, HEARTBEAT, &mut now), [false; 9]);
        slow.moved(&peer);
        assert_eq!(reports(&mut slow, peer, 9, HEARTBEAT, &mut now), [false; 9]);
    }
}
