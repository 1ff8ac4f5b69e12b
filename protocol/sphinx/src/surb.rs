//! Single-use reply blocks: a reply path to someone whose address stays hidden (`spec/mix-wire.md §9`). Those of the first
//! format:
//!
//! ```text
//! 0                94       126        702      718      734
//! | hop address 94 | α 32   | β 576    | γ 16   | key 16 |
//! ```
//!
//! The types enforce the single use: [`Surb`] is not `Clone` and [`Sphinx::use_surb`] takes it away. Using one twice
//! would encrypt two replies with one key stream (§21 W11).

use core::ops::Range;

use rand_core::CryptoRng;
use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::Sphinx;
use crate::block::{Damage, is_zero};
use crate::build::{packet_mut, random_sequence, write_plaintext};
use crate::countermeasures::Checks;
use crate::curve::is_canonical_nonzero;
use crate::format::FormatKind;
use crate::header::{self, Final, Secrets};
use crate::layout::{
    ALPHA_LEN, AddressBytes, BETA_LEN, GAMMA_LEN, HEADER_LEN, MESSAGE_LEN, NO_ADDRESS, PATH_LEN, SURB_ID_LEN,
    SURB_KEY_LEN, SURB_LEN,
};
use crate::packet::{HeaderMut, HeaderRef, PacketMut};
use crate::path::{BuildError, PathHop};

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

crate::redacted!(SurbId);

/// A single-use reply block, as an exit receives it.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Surb {
    /// The encoded address of the hop that a reply is sent to.
    #[zeroize(skip)]
    pub hop: AddressBytes,
    #[zeroize(skip)]
    kind: FormatKind,
    /// As they travel.
    bytes: Vec<u8>,
}

impl Surb {
    /// Reads a block of the first format from exactly 734 bytes.
    ///
    /// # Errors
    /// [`SurbError::Size`] or [`SurbError::Alpha`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SurbError> {
        let block = MixBlock::new(bytes).ok_or(SurbError::Size { len: bytes.len(), needed: SURB_LEN })?;
        if !is_canonical_nonzero(block.header.alpha) {
            return Err(SurbError::Alpha);
        }
        Ok(Self::new(FormatKind::Mix, *block.hop, bytes.to_vec()))
    }

    /// A block of any format from its checked bytes.
    pub(crate) fn new(kind: FormatKind, hop: AddressBytes, bytes: Vec<u8>) -> Self {
        Self { hop, kind, bytes }
    }

    /// The bytes of a block of this format.
    ///
    /// # Errors
    /// [`BuildError::ForeignSurb`] when the block is of another format.
    pub(crate) fn bytes_of(&self, kind: FormatKind) -> Result<&[u8], BuildError> {
        if self.kind == kind { Ok(&self.bytes) } else { Err(BuildError::ForeignSurb) }
    }

    /// Bytes of [`to_bytes`](Self::to_bytes), as many as [`PacketFormat::surb_len`](crate::PacketFormat::surb_len) says.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        self.bytes.len()
    }

    /// The bytes that travel in a request.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.bytes.clone()
    }
}

crate::redacted!(Surb);

/// The 734 bytes of a block of the first format.
struct MixBlock<'a> {
    hop: &'a AddressBytes,
    header: HeaderRef<'a>,
    key: &'a [u8; SURB_KEY_LEN],
}

impl<'a> MixBlock<'a> {
    /// `None` for any other number of bytes.
    fn new(bytes: &'a [u8]) -> Option<Self> {
        let bytes: &[u8; SURB_LEN] = bytes.try_into().ok()?;
        let (hop, rest) = bytes.split_first_chunk()?;
        let (_, key) = rest.split_last_chunk()?;
        Some(Self { hop, header: HeaderRef::new(rest)?, key })
    }
}

/// What the sender of a request keeps to open the reply: id, key and the secrets of the reply path. A clone lets
/// another thread open the reply; each copy is wiped when it is dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct ReplyKeys {
    #[zeroize(skip)]
    id: SurbId,
    layers: ReplyLayers,
}

/// The layers of a reply, one for each hop and the exit's own, by format.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(crate) enum ReplyLayers {
    /// The key of the block and the secrets of the hops.
    Mix { key: [u8; SURB_KEY_LEN], secrets: Secrets },
    /// The payload key seeds of the hops; the exit has the last of them too.
    #[cfg(feature = "sphinx-packet")]
    SphinxPacket { seeds: [[u8; SURB_KEY_LEN]; PATH_LEN] },
}

impl ReplyKeys {
    pub(crate) fn new(id: SurbId, layers: ReplyLayers) -> Self {
        Self { id, layers }
    }

    /// The id that [`crate::Opened::Reply`] will carry.
    #[must_use]
    pub fn id(&self) -> SurbId {
        self.id
    }

    pub(crate) fn layers(&self) -> &ReplyLayers {
        &self.layers
    }
}

crate::redacted!(ReplyKeys);

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
        let (mut alpha, mut beta, mut gamma) = ([0; ALPHA_LEN], [0; BETA_LEN], [0; GAMMA_LEN]);
        let header = HeaderMut { alpha: &mut alpha, beta: &mut beta, gamma: &mut gamma };
        let last = Final { destination: &NO_ADDRESS, id: &id.0 };
        let secrets = header::build(ephemeral, path, &last, header)?;
        let hop = path[0].address;
        let bytes = [&hop[..], &alpha, &beta, &gamma, key].concat();
        let surb = Surb::new(FormatKind::Mix, hop, bytes);
        Ok((surb, ReplyKeys::new(id, ReplyLayers::Mix { key: *key, secrets })))
    }

    /// Builds the reply packet for `surb.hop` in the first 4608 bytes of `out`; a proof suffix is left untouched.
    ///
    /// # Errors
    /// [`BuildError::BodyTooLong`] or [`BuildError::OutputTooShort`], with the sizes, or [`BuildError::ForeignSurb`]. The
    /// block is used up either way.
    pub fn use_surb<R: CryptoRng + ?Sized>(
        &self,
        rng: &mut R,
        surb: Surb,
        body: &[u8],
        out: &mut [u8],
    ) -> Result<(), BuildError> {
        let packet = packet_mut(out)?;
        self.write_body(random_sequence(rng), body, packet.delta)?;
        self.seal(surb, packet)
    }

    /// Builds the reply that `surb` and a whole message block determine; see [`Sphinx::use_surb`]. Made for vectors.
    ///
    /// # Errors
    /// [`BuildError::OutputTooShort`] or [`BuildError::ForeignSurb`].
    pub fn use_surb_block(&self, surb: Surb, block: &[u8; MESSAGE_LEN], out: &mut [u8]) -> Result<(), BuildError> {
        let packet = packet_mut(out)?;
        write_plaintext(block, packet.delta);
        self.seal(surb, packet)
    }

    #[expect(clippy::needless_pass_by_value, reason = "a reply block is used once")]
    fn seal(&self, surb: Surb, PacketMut { header, delta }: PacketMut<'_>) -> Result<(), BuildError> {
        let block = MixBlock::new(surb.bytes_of(FormatKind::Mix)?).ok_or(BuildError::ForeignSurb)?;
        *header.alpha = *block.header.alpha;
        *header.beta = *block.header.beta;
        *header.gamma = *block.header.gamma;
        self.profile.cipher.seal_reply(block.key, delta);
        Ok(())
    }

    /// Opens a reply in place, after [`Sphinx::open`] said [`crate::Opened::Reply`] with the id of `keys`.
    ///
    /// Zero prefix and padding are checked with both ciphers (§9.3 step 3, §21 W2 and W7). On an error the caller
    /// keeps `keys`: the packet was damaged on its way, and another copy may still come.
    ///
    /// # Errors
    /// [`ReplyError::Size`], [`ReplyError::Integrity`] or [`ReplyError::Padding`]; keys of another format fail the
    /// integrity check.
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
        #[cfg_attr(not(feature = "sphinx-packet"), expect(irrefutable_let_patterns, reason = "the only format"))]
        let ReplyLayers::Mix { key, secrets } = keys.layers() else {
            return Err(ReplyError::Integrity);
        };
        // Every hop, this node included, removed a layer that the exit had never added.
        for secret in secrets.0.iter().rev() {
            self.profile.cipher.add_layer(secret, delta);
        }
        self.profile.cipher.unseal_reply(key, delta);
        let body = self.profile.read_plaintext(delta, Checks::of_reply(self.weaknesses, self.profile.cipher))?;
        Ok(HEADER_LEN + body.start..HEADER_LEN + body.end)
    }
}

/// Why bytes are not a single-use reply block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SurbError {
    /// Not as long as a block of this format.
    #[error("a single-use reply block has {needed} bytes, not {len}")]
    Size {
        /// Bytes given.
        len: usize,
        /// Bytes of a block.
        needed: usize,
    },
    /// Its α is zero or not canonical, so every hop would refuse the reply.
    #[error("the group element of the single-use reply block is zero or not canonical")]
    Alpha,
    /// Its first hop is not an address.
    #[error("the first hop of the single-use reply block is not an address")]
    Hop,
}

crate::named_enum! {
    /// Why a reply could not be opened; its keys stay good.
    #[non_exhaustive]
    #[derive(Error)]
    pub enum ReplyError {
        /// Not as long as a packet of this profile.
        #[error("the reply has a wrong size")]
        Size = "size",
        /// The 16 zero bytes in front of the message are not zero.
        #[error("the reply failed its integrity check")]
        Integrity = "integrity",
        /// The padding is too long or not zero.
        #[error("the padding of the reply is not as it must be")]
        Padding = "padding",
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
