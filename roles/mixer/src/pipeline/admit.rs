//! The first half of what becomes of a received packet: is it authentic, and is it new (`spec/mix-wire.md §10`, §15).
//!
//! authenticate (each) → replay tags (all of a key, one lock) → wait until the tags are kept. Tags are remembered after the
//! MAC check, so a damaged copy of a packet cannot keep the good one out (§21 W6), and nothing is done with a packet before
//! its tag is kept: a node that stops at any moment and starts again has acted on no packet that it does not know (W4).

use std::cell::Cell;
use std::sync::Arc;

use futures::FutureExt as _;
use wakumix_keyring::{Admitted, MixKey, Uncommitted};
use wakumix_mix::{DropReason, Packet, ReplayError, hop};
use wakumix_sphinx::Authenticated;

use super::Pipeline;
use crate::countermeasures::forget_wrong_mac;
use crate::outbound::give_up_stopped;

/// A packet whose header is authentic and whose tag is new.
pub(crate) struct Fresh {
    pub(crate) packet: Packet,
    pub(crate) authenticated: Authenticated,
}

/// The new packets of a batch.
#[derive(Default)]
pub(crate) struct Pending {
    /// Those whose tags are kept.
    fresh: Vec<Fresh>,
    /// The others; none where tags are kept at once.
    waiting: Vec<Waiting>,
}

/// New packets of one key, whose tags are being written.
struct Waiting {
    packets: Vec<Fresh>,
    admitted: Admitted,
}

impl Pipeline {
    /// Authenticates each packet of a batch and remembers the tags. Packets that fail are finished.
    pub(crate) fn admit(&self, batch: Vec<Packet>) -> Pending {
        let keys = self.keys.keys();
        let mut pending = Pending::default();
        // In most batches all packets are of one key.
        let mut of_key: Option<(&MixKey, Vec<Fresh>)> = None;
        let mut of_others: Vec<(&MixKey, Vec<Fresh>)> = Vec::new();
        let expected = batch.len();
        for packet in batch {
            let (authenticated, key) = match self.authenticate(&keys, &packet) {
                Ok(authentic) => authentic,
                Err(reason) => {
                    packet.reject(reason);
                    continue;
                }
            };
            let (first, list) = of_key.get_or_insert_with(|| (key, Vec::with_capacity(expected)));
            let list = if std::ptr::eq(*first, key) { list } else { list_of(&mut of_others, key) };
            list.push(Fresh { packet, authenticated });
        }
        for (key, packets) in of_key.into_iter().chain(of_others) {
            pending.remember(key, packets);
        }
        pending
    }

    /// Finds the key that a packet was made for.
    fn authenticate<'k>(
        &self,
        keys: &'k [Arc<MixKey>],
        packet: &Packet,
    ) -> Result<(Authenticated, &'k MixKey), DropReason> {
        let format = &self.formats.of(packet).ok_or(DropReason::Size)?.format;
        let with_private = keys.iter().map(|key| (&**key, key.private()));
        hop::authenticate(&**format, with_private, packet.bytes(), |key| forget_wrong_mac(self.weaknesses, key, packet))
    }
}

impl Pending {
    /// Looks up the tags of packets of one key, all under one lock, and drops the packets that were opened before.
    fn remember(&mut self, key: &MixKey, mut packets: Vec<Fresh>) {
        let mut admitted = key.admit(packets.iter().map(|fresh| fresh.authenticated.tag()));
        let mut verdicts = std::mem::take(&mut admitted.verdicts).into_iter();
        let refused = Cell::new(None);
        let is_refused = |_: &mut Fresh| {
            refused.set(verdicts.next().and_then(Result::err));
            refused.get().is_some()
        };
        for Fresh { packet, .. } in packets.extract_if(.., is_refused) {
            packet.reject(refused.get().map_or(DropReason::Duplicate, ReplayError::drop_reason));
        }
        match admitted.committed().now_or_never() {
            Some(kept) => self.keep(packets, kept),
            None => self.waiting.push(Waiting { packets, admitted }),
        }
    }

    fn keep(&mut self, packets: Vec<Fresh>, kept: Result<(), Uncommitted>) {
        match kept {
            Ok(()) if self.fresh.is_empty() => self.fresh = packets,
            Ok(()) => self.fresh.extend(packets),
            Err(Uncommitted) => {
                packets.into_iter().for_each(|fresh| fresh.packet.reject(DropReason::TagsUnwritable));
            }
        }
    }

    /// Whether the tags of all packets are kept.
    pub(crate) fn is_committed(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Waits until the tags are kept. Packets whose tags cannot be are dropped.
    ///
    /// Cancel safe: yes; it goes on where it was.
    pub(crate) async fn committed(&mut self) {
        while let Some(waiting) = self.waiting.last_mut() {
            let kept = waiting.admitted.committed().await;
            let Some(Waiting { packets, .. }) = self.waiting.pop() else { return };
            self.keep(packets, kept);
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

/// The list of a key's packets.
fn list_of<'a, 'k>(lists: &'a mut Vec<(&'k MixKey, Vec<Fresh>)>, key: &'k MixKey) -> &'a mut Vec<Fresh> {
    let at = lists.iter().position(|(known, _)| std::ptr::eq(*known, key)).unwrap_or_else(|| {
        lists.push((key, Vec::new()));
        lists.len() - 1
    });
    &mut lists[at].1
}
