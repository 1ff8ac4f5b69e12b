//! The first half of what becomes of a received packet: is it authentic, and is it new (`spec/mix-wire.md` §10, §15).
//!
//! authenticate (each) → replay tags (all of a key, one lock) → wait until the tags are kept. Tags are remembered after the
//! MAC check, so a damaged copy of a packet cannot keep the good one out (§21 W6), and nothing is done with a packet before
//! its tag is kept: a node that stops at any moment and starts again has acted on no packet that it does not know (W4).

use std::sync::Arc;

use wakumix_keyring::{Admitted, MixKey};
use wakumix_mix::{DropReason, Packet, hop};
use wakumix_sphinx::{ALPHA_LEN, Authenticated, ReplayTag, Weakness, inspect};

use super::Pipeline;
use crate::outbound::give_up_stopped;

/// A packet whose header is authentic and whose tag is new.
pub(crate) struct Fresh {
    pub(crate) packet: Packet,
    pub(crate) authenticated: Authenticated,
}

/// The new packets of a batch.
pub(crate) struct Pending {
    /// Those whose tags are kept.
    fresh: Vec<Fresh>,
    waiting: Vec<Waiting>,
}

/// New packets of one key, whose tags are being written.
struct Waiting {
    packets: Vec<Fresh>,
    admitted: Admitted,
}

/// A packet whose header is authentic for one of this node's keys.
struct Authentic {
    packet: Packet,
    authenticated: Authenticated,
    key: Arc<MixKey>,
}

impl Pipeline {
    /// Authenticates each packet of a batch and remembers the tags. Packets that fail are settled.
    pub(crate) fn admit(&self, batch: Vec<Packet>) -> Pending {
        refuse_replays(self.authenticate(batch))
    }

    fn authenticate(&self, batch: Vec<Packet>) -> Vec<Authentic> {
        let keys = self.keys.keys();
        let authentic = |packet: Packet| match self.authenticate_with_any(&keys, &packet) {
            Ok((authenticated, key)) => Some(Authentic { packet, authenticated, key: Arc::clone(key) }),
            Err(reason) => {
                packet.reject(reason);
                None
            }
        };
        batch.into_iter().filter_map(authentic).collect()
    }

    /// Finds the key that a packet was made for.
    fn authenticate_with_any<'k>(
        &self,
        keys: &'k [Arc<MixKey>],
        packet: &Packet,
    ) -> Result<(Authenticated, &'k Arc<MixKey>), DropReason> {
        let format = &self.formats.of(packet).ok_or(DropReason::Size)?.format;
        let with_private = keys.iter().map(|key| (key, key.private()));
        hop::authenticate(&**format, with_private, packet.bytes(), |key| {
            if self.weaknesses.has(Weakness::TagsBeforeMac) {
                remember_unchecked(key, packet);
            }
        })
    }
}

impl Pending {
    /// Waits until the tags are kept. Packets whose tags cannot be are dropped.
    ///
    /// Cancel safe: yes; it goes on where it was.
    pub(crate) async fn committed(&mut self) {
        while let Some(waiting) = self.waiting.last_mut() {
            let kept = waiting.admitted.committed().await;
            let Some(Waiting { packets, .. }) = self.waiting.pop() else { return };
            match kept {
                Ok(()) if self.fresh.is_empty() => self.fresh = packets,
                Ok(()) => self.fresh.extend(packets),
                Err(_) => packets.into_iter().for_each(|fresh| fresh.packet.reject(DropReason::TagsUnwritable)),
            }
        }
    }

    /// The packets that may be opened.
    pub(crate) fn into_fresh(self) -> Vec<Fresh> {
        debug_assert!(self.waiting.is_empty(), "packets are opened whose tags are not kept");
        self.fresh
    }

    /// Drops all packets because the node stops.
    pub(crate) fn give_up(self) {
        let waiting = self.waiting.into_iter().flat_map(|waiting| waiting.packets);
        self.fresh.into_iter().chain(waiting).for_each(|fresh| give_up_stopped(fresh.packet));
    }
}

/// Drops the packets that were opened before. Those of one key, in most batches all, are looked up together.
fn refuse_replays(mut packets: Vec<Authentic>) -> Pending {
    let mut waiting = Vec::new();
    while let Some(first) = packets.first() {
        let key = Arc::clone(&first.key);
        let (of_key, others): (Vec<_>, Vec<_>) = packets.into_iter().partition(|other| Arc::ptr_eq(&other.key, &key));
        let tags: Vec<_> = of_key.iter().map(|packet| packet.authenticated.tag()).collect();
        let admitted = key.admit(&tags);
        let mut fresh = Vec::with_capacity(of_key.len());
        for (Authentic { packet, authenticated, .. }, verdict) in of_key.into_iter().zip(&admitted.verdicts) {
            match verdict {
                Ok(()) => fresh.push(Fresh { packet, authenticated }),
                Err(error) => packet.reject(error.drop_reason()),
            }
        }
        waiting.push(Waiting { packets: fresh, admitted });
        packets = others;
    }
    Pending { fresh: Vec::new(), waiting }
}

/// What the reference did until 2026 (`spec/mix-wire.md` §15): the tag of whatever α comes with, before anything is checked.
fn remember_unchecked(key: &MixKey, packet: &Packet) {
    let Some(alpha) = packet.bytes().first_chunk::<ALPHA_LEN>() else { return };
    let secret = inspect::x25519(key.private().as_bytes(), alpha);
    let _ = key.admit(&[ReplayTag::from_bytes(inspect::replay_tag(&secret))]);
}
