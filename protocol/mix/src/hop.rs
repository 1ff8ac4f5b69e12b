//! What a mix node decides about one received packet (`spec/mix-wire.md §10`, with the countermeasures of §21).
//!
//! ```text
//! authenticate ─> replay tag ─> open ─┬─> blind, draw the delay ─> dispatch to the next hop
//!                                     ├─> exit:  a message for this node's exit
//!                                     ├─> cover: counted and forgotten
//!                                     ├─> reply: an answer to a request of this node
//!                                     └─> refused, with a reason that nobody on the wire learns
//! ```
//!
//! Each step is its own function that works in the caller's buffer and allocates nothing, so that a node runs each step
//! over a batch, and has the replay tags of a batch on disk before it opens any packet of it. [`SingleKeyHop`] takes all
//! steps with one packet.
//!
//! Non-goals: keeping tags, holding packets, connections, packet accounting.

mod next_hop;
mod single_key;
#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use libp2p_identity::PeerId;
use rand_core::CryptoRng;
use wakumix_sphinx::{AddressBytes, Authenticated, Blinding, Opened, PacketFormat, PrivateKey, Reject, SurbId};

pub use next_hop::{NextHopPolicy, Reach};
pub use single_key::SingleKeyHop;

use crate::address::is_absent;
use crate::cover::{CoverBody, LoopId};
use crate::{DelayLaw, DropReason, HopAddress, HopKind};

/// What a packet is to this node. `F` is what is known of a packet that goes on: [`Onward`] once it is opened, [`ForwardStep`]
/// once it is ready to leave.
pub enum HopDecision<F> {
    /// It goes on.
    Forward(F),
    /// The path ends here, with a message for the exit of this node.
    Exit {
        /// Where the message goes; all zero when this node is the destination (§11).
        destination: AddressBytes,
        /// Where the body lies in the buffer, in bytes from its start.
        body: Range<usize>,
    },
    /// The path ends here, with cover (§16), whoever made it.
    Cover {
        /// The id, if the packet has room for one. Whether it belongs to a loop of this node is for
        /// [`LoopsInFlight`](crate::cover::LoopsInFlight) to say.
        id: Option<LoopId>,
    },
    /// It answers a request of this node (§9).
    Reply {
        /// The id that this node gave to the SURB.
        id: SurbId,
    },
    /// It is dropped. The buffer may hold noise.
    Refused {
        /// How it is counted.
        reason: DropReason,
        /// What this node was on its path; `None` if the packet could not be opened.
        kind: Option<HopKind>,
    },
}

impl<F> HopDecision<F> {
    /// What this node is on the path of the packet; `None` if the packet could not be opened.
    #[must_use]
    pub const fn kind(&self) -> Option<HopKind> {
        match self {
            Self::Forward(_) => Some(HopKind::Intermediate),
            Self::Exit { .. } | Self::Cover { .. } => Some(HopKind::Exit),
            Self::Reply { .. } => Some(HopKind::Reply),
            Self::Refused { kind, .. } => *kind,
        }
    }

    /// Takes a packet that goes on a step further, which can fail; other decisions stay as they are.
    pub fn and_then<G>(self, step: impl FnOnce(F) -> Result<G, DropReason>) -> HopDecision<G> {
        let kind = self.kind();
        match self {
            Self::Forward(forward) => match step(forward) {
                Ok(forward) => HopDecision::Forward(forward),
                Err(reason) => HopDecision::Refused { reason, kind },
            },
            Self::Exit { destination, body } => HopDecision::Exit { destination, body },
            Self::Cover { id } => HopDecision::Cover { id },
            Self::Reply { id } => HopDecision::Reply { id },
            Self::Refused { reason, kind } => HopDecision::Refused { reason, kind },
        }
    }
}

impl<F> fmt::Debug for HopDecision<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forward(_) => f.write_str("Forward(redacted)"),
            Self::Exit { .. } => f.write_str("Exit(redacted)"),
            Self::Cover { .. } => f.write_str("Cover(redacted)"),
            Self::Reply { .. } => f.write_str("Reply(redacted)"),
            Self::Refused { reason, .. } => write!(f, "Refused({reason:?})"),
        }
    }
}

/// A packet that goes on, opened and not yet blinded.
pub struct Onward {
    /// The next hop.
    pub to: HopAddress,
    /// How it may be reached.
    pub reach: Reach,
    /// The delay that its sender encoded, in milliseconds (§14).
    pub delay_ms: u16,
    /// For [`blind`].
    pub blinding: Blinding,
}

impl Onward {
    /// Blinds the packet and draws its delay: the last steps of a caller that handles packets one by one.
    ///
    /// # Errors
    /// As [`blind`].
    pub fn finish<R: CryptoRng + ?Sized>(
        self,
        format: &dyn PacketFormat,
        packet: &mut [u8],
        delay: ForwardDelay,
        rng: &mut R,
    ) -> Result<ForwardStep, DropReason> {
        let Self { to, reach, delay_ms, blinding } = self;
        blind(format, packet, blinding)?;
        Ok(ForwardStep { to, reach, delay: delay.draw(rng, delay_ms) })
    }
}

wakumix_sphinx::redacted!(Onward);

/// A packet that is ready for its next hop.
#[derive(Clone, PartialEq, Eq)]
pub struct ForwardStep {
    /// The next hop.
    pub to: HopAddress,
    /// How it may be reached.
    pub reach: Reach,
    /// How long the packet is held before it leaves; zero: it leaves at once.
    pub delay: Duration,
}

wakumix_sphinx::redacted!(ForwardStep);

/// How long a node holds the packets that it forwards (§14).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForwardDelay {
    /// The law by which a delay follows from what a packet carries.
    pub law: DelayLaw,
    /// No packet is held for longer.
    pub max: Duration,
}

impl ForwardDelay {
    /// Draws the delay of a packet that carries `encoded` milliseconds; zero means that it leaves at once.
    #[must_use]
    pub fn draw<R: CryptoRng + ?Sized>(self, rng: &mut R, encoded: u16) -> Duration {
        self.law.sample(rng, encoded).min(self.max)
    }
}

/// First step: finds the key that a packet was made for, and checks the packet's header. Keys are tried in order, each given
/// as the caller's handle and the key itself; the handle of the key that fits comes back. `on_wrong_mac` sees each key for
/// which the MAC is wrong.
///
/// Only a wrong MAC can mean that a packet was made for another key; a packet for a key that is gone is refused for its MAC
/// too. Remember [`Authenticated::tag`] before [`open`], and never before this step has succeeded (§21 W6).
///
/// # Errors
/// [`DropReason::Mac`], or what else was wrong with the last key that did not fail by the MAC.
pub fn authenticate<'k, K>(
    format: &dyn PacketFormat,
    keys: impl IntoIterator<Item = (K, &'k PrivateKey)>,
    packet: &[u8],
    mut on_wrong_mac: impl FnMut(&K),
) -> Result<(Authenticated, K), DropReason> {
    let mut refused = Reject::Mac;
    for (handle, key) in keys {
        match format.authenticate(key, packet) {
            Ok(authenticated) => return Ok((authenticated, handle)),
            Err(Reject::Mac) => on_wrong_mac(&handle),
            Err(reject) => refused = reject,
        }
    }
    Err(refused.into())
}

/// Second step: removes this node's layer in place and decides what the packet is to this node. `known` gives the address of
/// a mix node of the directory.
///
/// Cover ends here whether or not this node is an exit (§16); every other message is for the exit to judge.
#[must_use]
pub fn open(
    format: &dyn PacketFormat,
    packet: &mut [u8],
    authenticated: Authenticated,
    policy: &NextHopPolicy,
    known: &dyn Fn(&PeerId) -> Option<HopAddress>,
) -> HopDecision<Onward> {
    let opened = match format.open(packet, authenticated) {
        Ok(opened) => opened,
        Err(reject) => return HopDecision::Refused { reason: reject.into(), kind: None },
    };
    let kind = HopKind::from(&opened);
    match opened {
        Opened::Forward { next, delay_ms, blinding } => match policy.next_hop(&next, known) {
            Ok((to, reach)) => HopDecision::Forward(Onward { to, reach, delay_ms, blinding }),
            Err(reason) => HopDecision::Refused { reason, kind: Some(kind) },
        },
        Opened::Exit { destination, body } => match read_cover(&destination, packet, &body) {
            Some(CoverBody { id }) => HopDecision::Cover { id },
            None => HopDecision::Exit { destination, body },
        },
        Opened::Reply { id } => HopDecision::Reply { id },
    }
}

/// Third step, for packets that go on: writes the α of the next hop.
///
/// # Errors
/// How a packet is counted that cannot be blinded.
pub fn blind(format: &dyn PacketFormat, packet: &mut [u8], blinding: Blinding) -> Result<(), DropReason> {
    format.blind(packet, blinding).map_err(DropReason::from)
}

fn read_cover(destination: &AddressBytes, packet: &[u8], body: &Range<usize>) -> Option<CoverBody> {
    is_absent(destination).then(|| packet.get(body.clone()).and_then(CoverBody::read)).flatten()
}
