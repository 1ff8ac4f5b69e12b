//! What a hop does with a packet, in three steps (`spec/mix-wire.md §10`).
//!
//! 1. [`Sphinx::authenticate`] does the public-key work and checks the MAC. Only then is the replay tag available,
//!    so garbage cannot fill a replay store (§21 W6).
//! 2. [`Sphinx::open`] removes one layer in place and says what this hop is to the packet.
//! 3. [`Sphinx::blind`] writes the next α; only packets that go on need it.

use core::fmt;
use core::ops::Range;

use ctr::cipher::StreamCipher;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::Sphinx;
use crate::block::{Damage, is_zero};
use crate::countermeasures::{Checks, equal_macs, is_valid_alpha, tag};
use crate::curve::{Bytes32, x25519};
use crate::kdf::{blinding, header_keystream, header_mac, replay_tag};
use crate::keys::PrivateKey;
use crate::layout::{ADDRESS_LEN, ALPHA_LEN, AddressBytes, BETA_LEN, GAMMA_LEN, HEADER_LEN, ROUTING_LEN, routing};
use crate::packet::{HeaderMut, HeaderRef, PacketMut};
use crate::surb::SurbId;
use crate::weakness::Weaknesses;

/// A packet whose header is authentic for this node's key: its shared secret.
///
/// Check [`Authenticated::tag`] against the replay store before [`Sphinx::open`]. Give it back with the packet it
/// came from; with any other, `open` yields noise.
pub struct Authenticated {
    secret: Zeroizing<Bytes32>,
    tag: ReplayTag,
}

impl Authenticated {
    /// What to remember of the packet: a hash of the shared secret, equal for every encoding of the same packet
    /// (§15, §21 W5).
    #[must_use]
    pub fn tag(&self) -> ReplayTag {
        self.tag
    }

    /// The secret that this node shares with the sender.
    pub(crate) fn secret(&self) -> &Bytes32 {
        &self.secret
    }
}

crate::redacted!(Authenticated);

/// What a replay store remembers of a packet: a hash of its shared secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReplayTag([u8; 32]);

impl ReplayTag {
    /// A tag read back from storage.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes, uniformly distributed.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

crate::redacted!(ReplayTag);

/// The scalar that turns a packet's α into the next hop's.
pub struct Blinding {
    scalar: Zeroizing<Bytes32>,
}

impl Blinding {
    pub(crate) fn new(scalar: Zeroizing<Bytes32>) -> Self {
        Self { scalar }
    }

    /// The next hop's α.
    pub(crate) fn apply(self, alpha: &mut [u8; ALPHA_LEN]) -> Result<(), Reject> {
        *alpha = *x25519(&self.scalar, alpha).ok_or(Reject::ZeroSecret)?;
        Ok(())
    }
}

crate::redacted!(Blinding);

/// What this hop is to a packet.
pub enum Opened {
    /// A hop in the middle: after [`Sphinx::blind`] the buffer holds the packet for `next`.
    Forward {
        /// The encoded address of the next hop.
        next: AddressBytes,
        /// How long to hold the packet, as its sender encoded it (§14).
        delay_ms: u16,
        /// For [`Sphinx::blind`].
        blinding: Blinding,
    },
    /// The last hop of a forward path.
    Exit {
        /// The encoded address of the destination; zeros when it is this node.
        destination: AddressBytes,
        /// Where the body is in the packet buffer.
        body: Range<usize>,
    },
    /// The end of a reply path: [`Sphinx::open_reply`] with the keys of this id gives the body.
    Reply {
        /// The id that the sender of the request gave to the SURB.
        id: SurbId,
    },
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Forward { .. } => "Forward(redacted)",
            Self::Exit { .. } => "Exit(redacted)",
            Self::Reply { .. } => "Reply(redacted)",
        })
    }
}

crate::named_enum! {
    /// Why a packet is dropped. On the wire all reasons look alike: silence.
    #[non_exhaustive]
    #[derive(Error)]
    pub enum Reject {
        /// Not as long as a packet of this profile.
        #[error("the packet has a wrong size")]
        Size = "size",
        /// α is zero or not canonical; honest senders make neither (§4.1).
        #[error("the group element is zero or not canonical")]
        Alpha = "alpha",
        /// The shared secret is zero: α is of low order (§4.1).
        #[error("the shared secret is zero")]
        ZeroSecret = "zero_secret",
        /// γ is not the MAC of β: not for this key, or damaged.
        #[error("the header is not authentic")]
        Mac = "mac",
        /// The routing block makes no sense at this hop: neither exit nor reply (§10.1), or of an unknown version.
        #[error("the routing block has no role for this hop")]
        Role = "role",
        /// The 16 zero bytes in front of the message are not zero.
        #[error("the payload failed its integrity check")]
        Integrity = "integrity",
        /// The padding is too long or not zero.
        #[error("the padding of the message is not as it must be")]
        Padding = "padding",
    }
}

impl From<Damage> for Reject {
    fn from(damage: Damage) -> Self {
        match damage {
            Damage::Prefix => Self::Integrity,
            Damage::Padding => Self::Padding,
        }
    }
}

/// The public-key part of the first step, the same for every format: α is checked, then multiplied.
pub(crate) struct Handshake<'a> {
    weaknesses: Weaknesses,
    alpha: &'a [u8; ALPHA_LEN],
    secret: Zeroizing<Bytes32>,
}

impl<'a> Handshake<'a> {
    pub(crate) fn new(weaknesses: Weaknesses, key: &PrivateKey, alpha: &'a [u8; ALPHA_LEN]) -> Result<Self, Reject> {
        if !is_valid_alpha(weaknesses, alpha) {
            return Err(Reject::Alpha);
        }
        let secret = key.multiplier().times(alpha).ok_or(Reject::ZeroSecret)?;
        Ok(Self { weaknesses, alpha, secret })
    }

    pub(crate) fn secret(&self) -> &Bytes32 {
        &self.secret
    }

    /// Gives the secret and the tag out, if the computed MAC is the one that was received. `of_secret` is the format's
    /// hash of the secret.
    pub(crate) fn finish(
        self,
        computed: &[u8; GAMMA_LEN],
        received: &[u8; GAMMA_LEN],
        of_secret: Bytes32,
    ) -> Result<Authenticated, Reject> {
        if !equal_macs(self.weaknesses, computed, received) {
            return Err(Reject::Mac);
        }
        let tag = ReplayTag(tag(self.weaknesses, of_secret, self.alpha, &self.secret));
        Ok(Authenticated { secret: self.secret, tag })
    }
}

impl Sphinx {
    /// First step: size, α, shared secret and MAC. The packet is only read; nothing is allocated.
    ///
    /// # Errors
    /// [`Reject::Size`], [`Reject::Alpha`], [`Reject::ZeroSecret`] or [`Reject::Mac`].
    pub fn authenticate(&self, key: &PrivateKey, packet: &[u8]) -> Result<Authenticated, Reject> {
        self.check_size(packet)?;
        let header = HeaderRef::new(packet).ok_or(Reject::Size)?;
        let handshake = Handshake::new(self.weaknesses, key, header.alpha)?;
        let gamma = header_mac(handshake.secret(), header.beta);
        let tag = replay_tag(handshake.secret());
        handshake.finish(&gamma, header.gamma, tag)
    }

    /// Second step: removes this hop's layer in place and says what the hop is to the packet.
    ///
    /// A proof suffix is left as it is. After an error the buffer holds noise.
    ///
    /// # Errors
    /// [`Reject::Size`], [`Reject::Role`], and at an exit [`Reject::Integrity`] or [`Reject::Padding`].
    #[expect(clippy::needless_pass_by_value, reason = "a shared secret opens one packet, once")]
    pub fn open(&self, packet: &mut [u8], auth: Authenticated) -> Result<Opened, Reject> {
        self.check_size(packet)?;
        let PacketMut { header, delta } = PacketMut::new(packet).ok_or(Reject::Size)?;
        self.profile.cipher.remove_layer(auth.secret(), delta);
        let block = decrypt_routing(auth.secret(), header.beta);
        if !bool::from(is_zero(&block[routing::FINAL_PAD])) {
            return Ok(forward(auth.secret(), &block, header));
        }
        let mut destination = [0; ADDRESS_LEN];
        destination.copy_from_slice(&block[routing::ADDRESS]);
        if let Some(id) = reply_id(&block)? {
            return Ok(Opened::Reply { id });
        }
        let body = self.profile.read_plaintext(delta, Checks::of_exit(self.weaknesses))?;
        Ok(Opened::Exit { destination, body: HEADER_LEN + body.start..HEADER_LEN + body.end })
    }

    /// Third step, for packets that go on: replaces α by the next hop's.
    ///
    /// # Errors
    /// [`Reject::Size`]; [`Reject::ZeroSecret`] cannot follow a successful `authenticate`.
    pub fn blind(&self, packet: &mut [u8], blinding: Blinding) -> Result<(), Reject> {
        self.check_size(packet)?;
        let PacketMut { header, .. } = PacketMut::new(packet).ok_or(Reject::Size)?;
        blinding.apply(header.alpha)
    }

    fn check_size(&self, packet: &[u8]) -> Result<(), Reject> {
        if packet.len() == self.profile.packet_len() { Ok(()) } else { Err(Reject::Size) }
    }
}

/// B = AESCTR(β ‖ 0^112): this hop's block and the next β (§10 step 9).
fn decrypt_routing(secret: &Bytes32, beta: &[u8; BETA_LEN]) -> Zeroizing<[u8; ROUTING_LEN]> {
    let mut block = Zeroizing::new([0; ROUTING_LEN]);
    block[..BETA_LEN].copy_from_slice(beta);
    header_keystream(secret).apply_keystream(&mut *block);
    block
}

/// Writes the next hop's β and γ; α follows in [`Sphinx::blind`].
fn forward(secret: &Bytes32, block: &[u8; ROUTING_LEN], HeaderMut { alpha, beta, gamma }: HeaderMut<'_>) -> Opened {
    gamma.copy_from_slice(&block[routing::GAMMA_OR_ID]);
    beta.copy_from_slice(&block[routing::NEXT_BETA]);
    let mut next = [0; ADDRESS_LEN];
    next.copy_from_slice(&block[routing::ADDRESS]);
    let mut delay = [0; 2];
    delay.copy_from_slice(&block[routing::DELAY]);
    Opened::Forward { next, delay_ms: u16::from_be_bytes(delay), blinding: Blinding::new(blinding(alpha, secret)) }
}

/// Tells exit (`None`) from reply in a last hop's block (§10.1).
fn reply_id(block: &[u8; ROUTING_LEN]) -> Result<Option<SurbId>, Reject> {
    let address_zero = is_zero(&block[routing::ADDRESS]);
    let delay_zero = is_zero(&block[routing::DELAY]);
    let id_zero = is_zero(&block[routing::GAMMA_OR_ID]);
    if bool::from(delay_zero & id_zero) {
        return Ok(None);
    }
    if !bool::from(address_zero & delay_zero) {
        return Err(Reject::Role);
    }
    let mut id = [0; crate::layout::SURB_ID_LEN];
    id.copy_from_slice(&block[routing::GAMMA_OR_ID]);
    Ok(Some(SurbId::from_bytes(id)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Profile;

    /// A packet whose block at this hop begins with these bytes, with a sound MAC.
    fn packet_with(key: &PrivateKey, format: &Sphinx, block: &[u8]) -> Vec<u8> {
        let mut packet = vec![0; format.profile.packet_len()];
        packet[0] = 9;
        let secret = *Handshake::new(Weaknesses::NONE, key, HeaderRef::new(&packet).unwrap().alpha).unwrap().secret();
        let keystream = decrypt_routing(&secret, &[0; BETA_LEN]);
        let PacketMut { header: HeaderMut { beta, gamma, .. }, .. } = PacketMut::new(&mut packet).unwrap();
        beta.copy_from_slice(&keystream[..BETA_LEN]);
        beta.iter_mut().zip(block).for_each(|(byte, wanted)| *byte ^= wanted);
        gamma.copy_from_slice(&header_mac(&secret, beta));
        packet
    }

    #[test]
    fn a_hop_is_the_last_only_if_all_of_the_final_padding_is_zero() {
        let (key, format) = (PrivateKey::from_bytes([7; 32]), Sphinx::new(Profile::default()));
        for place in routing::FINAL_PAD {
            let mut block = [0; BETA_LEN];
            block[place] = 1;
            let mut packet = packet_with(&key, &format, &block);
            let authenticated = format.authenticate(&key, &packet).unwrap();
            assert!(matches!(format.open(&mut packet, authenticated), Ok(Opened::Forward { .. })), "byte {place}");
        }
        let mut packet = packet_with(&key, &format, &[0; BETA_LEN]);
        let authenticated = format.authenticate(&key, &packet).unwrap();
        assert!(!matches!(format.open(&mut packet, authenticated), Ok(Opened::Forward { .. })));
    }
}
