//! A mix node with one key, for simulations and tests: every step with one packet in one call.

use std::fmt;
use std::sync::Arc;

use libp2p_identity::PeerId;
use rand_core::CryptoRng;
use wakumix_sphinx::{PacketFormat, PrivateKey};

use super::{ForwardDelay, ForwardStep, HopDecision, NextHopPolicy, authenticate, open};
use crate::{DropReason, HopAddress, ReplayTags};

/// A hop that keeps its replay tags in memory. All of its state is ephemeral: use it where a node that stops never starts
/// again with the same key.
pub struct SingleKeyHop {
    /// How packets are opened.
    pub format: Arc<dyn PacketFormat>,
    /// The mix key.
    pub key: PrivateKey,
    /// The tags of the packets that it has opened.
    pub tags: ReplayTags,
    /// Where packets may go next.
    pub policy: NextHopPolicy,
    /// How long packets are held.
    pub delay: ForwardDelay,
}

impl SingleKeyHop {
    /// Decides about one packet, in place. A packet that goes on is ready for its next hop.
    #[must_use]
    pub fn handle<R: CryptoRng + ?Sized>(
        &mut self,
        rng: &mut R,
        known: &dyn Fn(&PeerId) -> Option<HopAddress>,
        packet: &mut [u8],
    ) -> HopDecision<ForwardStep> {
        let format = &*self.format;
        let unopened = |reason: DropReason| HopDecision::Refused { reason, kind: None };
        let authenticated = match authenticate(format, [((), &self.key)], packet, |()| {}) {
            Ok((authenticated, ())) => authenticated,
            Err(reason) => return unopened(reason),
        };
        if let Err(error) = self.tags.insert(authenticated.tag()) {
            return unopened(error.drop_reason());
        }
        open(format, packet, authenticated, &self.policy, known)
            .and_then(|onward| onward.finish(format, packet, self.delay, rng))
    }
}

impl fmt::Debug for SingleKeyHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SingleKeyHop").field("tags", &self.tags.len()).finish_non_exhaustive()
    }
}
