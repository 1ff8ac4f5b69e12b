//! Single-use reply blocks: a way back to someone whose address stays hidden (`spec/mix-wire.md` §9).
//!
//! ```text
//! 0                94       126        702      718      734
//! | hop address 94 | α 32   | β 576    | γ 16   | key 16 |
//! ```
//!
//! The types enforce the single use: [`Surb`] is not `Clone` and [`Sphinx::use_surb`] takes it away. Using one twice
//! would encrypt two replies with one key stream (§21 W11).

use core::fmt;
use core::ops::Range;

use rand_core::CryptoRng;
use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::Sphinx;
use crate::block::{Damage, is_zero};
use crate::build::{BuildError, PathHop, packet_mut, write_plaintext};
use crate::curve::is_canonical_nonzero;
use crate::header::{self, Final, Secrets};
use crate::layout::{
    ADDRESS_LEN, ALPHA_LEN, AddressBytes, BETA_LEN, GAMMA_LEN, HEADER_LEN, MESSAGE_LEN, NO_ADDRESS, PATH_LEN,
    SURB_ID_LEN, SURB_KEY_LEN, SURB_LEN,
};
use crate::packet::{HeaderMut, HeaderRef, PacketMut};

/// The id by which the sender of a request recognises the reply.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SurbId([u8; SURB_ID_LEN]);

impl SurbId {
    /// An id from its bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; SURB_ID_LEN]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes of the id.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; SURB_ID_LEN] {
        &self.0
    }
}

impl fmt::Debug for SurbId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SurbId(redacted)")
    }
}

/// A single-use reply block, as an exit receives it.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Surb {
    /// The encoded address of the hop that a reply is sent to.
    #[zeroize(skip)]
    pub hop: AddressBytes,
    alpha: [u8; ALPHA_LEN],
    beta: [u8; BETA_LEN],
    gamma: [u8; GAMMA_LEN],
    key: [u8; SURB_KEY_LEN],
}

impl Surb {
    /// Reads a block from exactly 734 bytes.
    ///
    /// # Errors
    /// [`SurbError::Size`] or [`SurbError::Alpha`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SurbError> {
        let wrong_size = SurbError::Size { len: bytes.len() };
        let bytes: &[u8; SURB_LEN] = bytes.try_into().map_err(|_| wrong_size)?;
        let (hop, rest) = bytes.split_first_chunk().ok_or(wrong_size)?;
        let header = HeaderRef::new(rest).ok_or(wrong_size)?;
        let (_, key) = rest.split_last_chunk().ok_or(wrong_size)?;
        if !is_canonical_nonzero(header.alpha) {
            return Err(SurbError::Alpha);
        }
        Ok(Self { hop: *hop, alpha: *header.alpha, beta: *header.beta, gamma: *header.gamma, key: *key })
    }

    /// Bytes of [`to_bytes`](Self::to_bytes).
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        SURB_LEN
    }

    /// The 734 bytes that travel in a request.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; SURB_LEN] {
        let mut bytes = [0; SURB_LEN];
        let (hop, rest) = bytes.split_at_mut(ADDRESS_LEN);
        let (header, key) = rest.split_at_mut(HEADER_LEN);
        hop.copy_from_slice(&self.hop);
        self.write_header(header);
        key.copy_from_slice(&self.key);
        bytes
    }

    fn write_header(&self, header: &mut [u8]) {
        let (alpha, rest) = header.split_at_mut(ALPHA_LEN);
        let (beta, gamma) = rest.split_at_mut(BETA_LEN);
        alpha.copy_from_slice(&self.alpha);
        beta.copy_from_slice(&self.beta);
        gamma.copy_from_slice(&self.gamma);
    }
}

impl fmt::Debug for Surb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Surb(redacted)")
    }
}

/// What the sender of a request keeps to open the reply: id, key and the secrets of the reply path. A clone lets
/// another thread open the reply; each copy is wiped when it is dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct ReplyKeys {
    #[zeroize(skip)]
    id: SurbId,
    key: [u8; SURB_KEY_LEN],
    secrets: Secrets,
}

impl ReplyKeys {
    /// Keys from their recorded parts; see [`crate::inspect`].
    pub(crate) fn from_parts(id: SurbId, key: [u8; SURB_KEY_LEN], secrets: Secrets) -> Self {
        Self { id, key, secrets }
    }

    /// The id that [`crate::Opened::Reply`] will carry.
    #[must_use]
    pub fn id(&self) -> SurbId {
        self.id
    }
}

impl fmt::Debug for ReplyKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReplyKeys(redacted)")
    }
}

impl Sphinx {
    /// Makes a single-use reply block and the keys that open the reply. `path[2]` is the caller itself.
    ///
    /// # Errors
    /// [`BuildError::ZeroSurbId`] or [`BuildError::Degenerate`], neither with a working random source.
    pub fn create_surb<R: CryptoRng + ?Sized>(
        &self,
        rng: &mut R,
        path: &[PathHop; PATH_LEN],
    ) -> Result<(Surb, ReplyKeys), BuildError> {
        let mut ephemeral = Zeroizing::new([0; 32]);
        let mut id = [0; SURB_ID_LEN];
        let mut key = Zeroizing::new([0; SURB_KEY_LEN]);
        rng.fill_bytes(&mut *ephemeral);
        rng.fill_bytes(&mut id);
        rng.fill_bytes(&mut *key);
        self.create_surb_with(&ephemeral, path, SurbId(id), &key)
    }

    /// Makes the block that these values determine; see [`Sphinx::create_surb`]. Made for vectors.
    ///
    /// # Errors
    /// [`BuildError::ZeroSurbId`], or [`BuildError::Degenerate`] with probability about 2^−126.
    pub fn create_surb_with(
        &self,
        ephemeral: &[u8; 32],
        path: &[PathHop; PATH_LEN],
        id: SurbId,
        key: &[u8; SURB_KEY_LEN],
    ) -> Result<(Surb, ReplyKeys), BuildError> {
        if bool::from(is_zero(&id.0)) {
            return Err(BuildError::ZeroSurbId);
        }
        let mut surb =
            Surb { hop: path[0].address, alpha: [0; ALPHA_LEN], beta: [0; BETA_LEN], gamma: [0; GAMMA_LEN], key: *key };
        let header = HeaderMut { alpha: &mut surb.alpha, beta: &mut surb.beta, gamma: &mut surb.gamma };
        let last = Final { destination: &NO_ADDRESS, id: &id.0 };
        let secrets = header::build(ephemeral, path, &last, header)?;
        let keys = ReplyKeys { id, key: *key, secrets };
        Ok((surb, keys))
    }

    /// Builds the reply packet for `surb.hop` in the first 4608 bytes of `out`; a proof suffix is left untouched.
    ///
    /// # Errors
    /// [`BuildError::BodyTooLong`] or [`BuildError::OutputTooShort`], with the sizes. The block is used up either way.
    pub fn use_surb<R: CryptoRng + ?Sized>(
        &self,
        rng: &mut R,
        surb: Surb,
        body: &[u8],
        out: &mut [u8],
    ) -> Result<(), BuildError> {
        let packet = packet_mut(out)?;
        self.write_body(rng, body, packet.delta)?;
        self.seal(surb, packet);
        Ok(())
    }

    /// Builds the reply that `surb` and a whole message block determine; see [`Sphinx::use_surb`]. Made for vectors.
    ///
    /// # Errors
    /// [`BuildError::OutputTooShort`].
    pub fn use_surb_block(&self, surb: Surb, block: &[u8; MESSAGE_LEN], out: &mut [u8]) -> Result<(), BuildError> {
        let packet = packet_mut(out)?;
        write_plaintext(block, packet.delta);
        self.seal(surb, packet);
        Ok(())
    }

    #[expect(clippy::needless_pass_by_value, reason = "a reply block is used once")]
    fn seal(&self, surb: Surb, PacketMut { header, delta }: PacketMut<'_>) {
        *header.alpha = surb.alpha;
        *header.beta = surb.beta;
        *header.gamma = surb.gamma;
        self.profile.cipher.seal_reply(&surb.key, delta);
    }

    /// Opens a reply in place, after [`Sphinx::open`] said [`crate::Opened::Reply`] with the id of `keys`.
    ///
    /// Zero prefix and padding are checked with both ciphers (§9.3 step 3, §21 W2 and W7). On an error the caller
    /// keeps `keys`: the packet was damaged on its way, and another copy may still come.
    ///
    /// # Errors
    /// [`ReplyError::Size`], [`ReplyError::Integrity`] or [`ReplyError::Padding`].
    pub fn open_reply<'a>(&self, keys: &ReplyKeys, packet: &'a mut [u8]) -> Result<&'a [u8], ReplyError> {
        let body = self.reply_body(keys, packet)?;
        Ok(&packet[body])
    }

    /// Opens a reply in place; where its body is in the packet.
    pub(crate) fn reply_body(&self, keys: &ReplyKeys, packet: &mut [u8]) -> Result<Range<usize>, ReplyError> {
        if packet.len() != self.profile.packet_len() {
            return Err(ReplyError::Size);
        }
        let PacketMut { delta, .. } = PacketMut::new(packet).ok_or(ReplyError::Size)?;
        // Every hop, this node included, removed a layer that the exit had never added.
        for secret in keys.secrets.0.iter().rev() {
            self.profile.cipher.add_layer(secret, delta);
        }
        self.profile.cipher.unseal_reply(&keys.key, delta);
        let body = self.profile.read_plaintext(delta)?;
        Ok(HEADER_LEN + body.start..HEADER_LEN + body.end)
    }
}

/// Why bytes are not a single-use reply block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SurbError {
    /// Not 734 bytes.
    #[error("a single-use reply block has {SURB_LEN} bytes, not {len}")]
    Size {
        /// Bytes given.
        len: usize,
    },
    /// Its α is zero or not canonical, so every hop would refuse the reply.
    #[error("the group element of the single-use reply block is zero or not canonical")]
    Alpha,
}

/// Why a reply could not be opened; its keys stay good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// Not as long as a packet of this profile.
    #[error("the reply has a wrong size")]
    Size,
    /// The 16 zero bytes in front of the message are not zero.
    #[error("the reply failed its integrity check")]
    Integrity,
    /// The padding is too long or not zero.
    #[error("the padding of the reply is not as it must be")]
    Padding,
}

impl ReplyError {
    /// A stable name for counters, in snake case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Integrity => "integrity",
            Self::Padding => "padding",
        }
    }
}

impl From<Damage> for ReplyError {
    fn from(damage: Damage) -> Self {
        match damage {
            Damage::Prefix => Self::Integrity,
            Damage::Padding => Self::Padding,
        }
    }
}
