//! What every packet format can do: the one way in which the rest of a node makes and opens packets.
//!
//! A node may serve several formats at once, each under its own protocol id. Their packets differ in length, so the
//! length of a buffer tells its format; only this crate reads its contents.

use core::{fmt, ops::Range, str::FromStr};
use std::sync::Arc;

use rand_core::CryptoRng;
use thiserror::Error;

#[cfg(feature = "sphinx-packet")]
use crate::SphinxPacketFormat;
use crate::{
    AddressBytes, Authenticated, Blinding, BuildError, Opened, PATH_LEN, PathHop, PrivateKey, Profile, ProfileError,
    Reject, ReplyError, ReplyKeys, Sphinx, Surb, SurbError, Weaknesses,
};

/// A packet format: build, unwrap, reply.
///
/// The contract of this crate holds for each of them: no clock, no global randomness, no panic on any input, secrets
/// wiped, comparisons with secrets in constant time, tags only after the MAC, padding checked.
pub trait PacketFormat: Send + Sync + fmt::Debug {
    /// Its name and variant, as configured and published.
    fn wire(&self) -> WireFormat;

    /// Bytes of a packet, proof included. No other format that the same node serves has the same.
    fn packet_len(&self) -> usize;

    /// The longest body that a packet carries, in bytes.
    fn data_len(&self) -> usize;

    /// Bytes of an encoded single-use reply block.
    fn surb_len(&self) -> usize;

    /// Builds a packet in `out`; see [`Sphinx::build`].
    ///
    /// # Errors
    /// [`BuildError`]; `out` may then hold noise.
    fn build(
        &self,
        rng: &mut dyn CryptoRng,
        path: &[PathHop; PATH_LEN],
        destination: &AddressBytes,
        body: &[u8],
        out: &mut [u8],
    ) -> Result<(), BuildError>;

    /// Makes a single-use reply block; `path[2]` is the caller itself.
    ///
    /// # Errors
    /// [`BuildError`].
    fn create_surb(&self, rng: &mut dyn CryptoRng, path: &[PathHop; PATH_LEN])
    -> Result<(Surb, ReplyKeys), BuildError>;

    /// Reads a single-use reply block from exactly [`surb_len`](Self::surb_len) bytes.
    ///
    /// # Errors
    /// [`SurbError`].
    fn read_surb(&self, bytes: &[u8]) -> Result<Surb, SurbError>;

    /// Builds the reply packet for the first hop of `surb` in `out`. The block is used up either way.
    ///
    /// # Errors
    /// [`BuildError`].
    fn use_surb(&self, rng: &mut dyn CryptoRng, surb: Surb, body: &[u8], out: &mut [u8]) -> Result<(), BuildError>;

    /// First step of a hop: size, group element, shared secret, MAC. The packet is only read.
    ///
    /// # Errors
    /// [`Reject`].
    fn authenticate(&self, key: &PrivateKey, packet: &[u8]) -> Result<Authenticated, Reject>;

    /// Second step: removes this hop's layer in place and says what the hop is to the packet.
    ///
    /// # Errors
    /// [`Reject`]; the buffer then holds noise.
    fn open(&self, packet: &mut [u8], authenticated: Authenticated) -> Result<Opened, Reject>;

    /// Third step, for packets that go on: the next hop's group element.
    ///
    /// # Errors
    /// [`Reject`].
    fn blind(&self, packet: &mut [u8], blinding: Blinding) -> Result<(), Reject>;

    /// Opens a reply in place, after [`open`](Self::open) said [`Opened::Reply`] with the id of `keys`; where its body is.
    /// On an error the caller keeps `keys`: another copy may still come.
    ///
    /// # Errors
    /// [`ReplyError`].
    fn open_reply(&self, keys: &ReplyKeys, packet: &mut [u8]) -> Result<Range<usize>, ReplyError>;
}

/// Which packets a node speaks: `lioness/pad` and its like (`spec/mix-wire.md §20`), or `sphinx-packet`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WireFormat {
    /// The packet of nwaku under `/mix/1.0.0`, in one of its profiles.
    Mix(Profile),
    /// The packet of the `sphinx-packet` crate, for closed fleets.
    #[cfg(feature = "sphinx-packet")]
    SphinxPacket,
}

impl WireFormat {
    /// The word for the second format in configuration and records.
    pub const SPHINX_PACKET: &'static str = "sphinx-packet";

    /// Makes and opens these packets.
    #[must_use]
    pub fn format(self) -> Arc<dyn PacketFormat> {
        self.weakened(Weaknesses::NONE)
    }

    /// The same without these countermeasures, for the attack suite.
    #[must_use]
    pub fn weakened(self, weaknesses: Weaknesses) -> Arc<dyn PacketFormat> {
        match self {
            Self::Mix(profile) => Arc::new(Sphinx::new(profile).weakened(weaknesses)),
            #[cfg(feature = "sphinx-packet")]
            Self::SphinxPacket => Arc::new(SphinxPacketFormat::new().weakened(weaknesses)),
        }
    }

    /// Which of the two kinds it is.
    #[must_use]
    pub const fn kind(self) -> FormatKind {
        match self {
            Self::Mix(_) => FormatKind::Mix,
            #[cfg(feature = "sphinx-packet")]
            Self::SphinxPacket => FormatKind::SphinxPacket,
        }
    }
}

impl Default for WireFormat {
    fn default() -> Self {
        Self::Mix(Profile::default())
    }
}

impl fmt::Display for WireFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mix(profile) => profile.fmt(f),
            #[cfg(feature = "sphinx-packet")]
            Self::SphinxPacket => f.write_str(Self::SPHINX_PACKET),
        }
    }
}

impl FromStr for WireFormat {
    type Err = WireFormatError;

    /// Reads `sphinx-packet`, or the profile of a packet of nwaku.
    fn from_str(text: &str) -> Result<Self, WireFormatError> {
        #[cfg(feature = "sphinx-packet")]
        if text == Self::SPHINX_PACKET {
            return Ok(Self::SphinxPacket);
        }
        text.parse().map(Self::Mix).map_err(WireFormatError)
    }
}

/// A packet format that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[cfg_attr(feature = "sphinx-packet", error("{0}, or {word}", word = WireFormat::SPHINX_PACKET))]
#[cfg_attr(not(feature = "sphinx-packet"), error("{0}"))]
pub struct WireFormatError(ProfileError);

/// A kind of packet: what tells formats apart that one node can serve at once. Two profiles of nwaku's packet share
/// protocol id and length, so a node serves one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FormatKind {
    /// The packet of nwaku.
    Mix,
    /// The packet of the `sphinx-packet` crate.
    SphinxPacket,
}

impl FormatKind {
    /// Both kinds.
    pub const ALL: [Self; 2] = [Self::Mix, Self::SphinxPacket];
}

/// A set of [`FormatKind`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FormatSet(u8);

impl FormatSet {
    /// The packet of nwaku alone: what is assumed of a node that has not told.
    pub const MIX: Self = Self(1 << FormatKind::Mix as u8);

    /// Whether a kind is in it.
    #[must_use]
    pub const fn contains(self, kind: FormatKind) -> bool {
        self.0 & 1 << kind as u8 != 0
    }

    /// With this kind as well.
    #[must_use]
    pub const fn with(self, kind: FormatKind) -> Self {
        Self(self.0 | 1 << kind as u8)
    }
}

impl FromIterator<FormatKind> for FormatSet {
    fn from_iter<I: IntoIterator<Item = FormatKind>>(kinds: I) -> Self {
        kinds.into_iter().fold(Self::default(), Self::with)
    }
}

impl PacketFormat for Sphinx {
    fn wire(&self) -> WireFormat {
        WireFormat::Mix(self.profile())
    }

    fn packet_len(&self) -> usize {
        self.profile().packet_len()
    }

    fn data_len(&self) -> usize {
        self.profile().data_len()
    }

    fn surb_len(&self) -> usize {
        crate::SURB_LEN
    }

    fn build(
        &self,
        rng: &mut dyn CryptoRng,
        path: &[PathHop; PATH_LEN],
        destination: &AddressBytes,
        body: &[u8],
        out: &mut [u8],
    ) -> Result<(), BuildError> {
        Self::build(self, rng, path, destination, body, out)
    }

    fn create_surb(
        &self,
        rng: &mut dyn CryptoRng,
        path: &[PathHop; PATH_LEN],
    ) -> Result<(Surb, ReplyKeys), BuildError> {
        Self::create_surb(self, rng, path)
    }

    fn read_surb(&self, bytes: &[u8]) -> Result<Surb, SurbError> {
        Surb::from_bytes(bytes)
    }

    fn use_surb(&self, rng: &mut dyn CryptoRng, surb: Surb, body: &[u8], out: &mut [u8]) -> Result<(), BuildError> {
        Self::use_surb(self, rng, surb, body, out)
    }

    fn authenticate(&self, key: &PrivateKey, packet: &[u8]) -> Result<Authenticated, Reject> {
        Self::authenticate(self, key, packet)
    }

    fn open(&self, packet: &mut [u8], authenticated: Authenticated) -> Result<Opened, Reject> {
        Self::open(self, packet, authenticated)
    }

    fn blind(&self, packet: &mut [u8], blinding: Blinding) -> Result<(), Reject> {
        Self::blind(self, packet, blinding)
    }

    fn open_reply(&self, keys: &ReplyKeys, packet: &mut [u8]) -> Result<Range<usize>, ReplyError> {
        self.reply_body(keys, packet)
    }
}
