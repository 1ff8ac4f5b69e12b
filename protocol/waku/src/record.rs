//! The fields that Waku adds to a node record (31/WAKU2-ENR, `spec/waku.md §6.2`): the bytes under the keys `waku2`, `rs`
//! and `multiaddrs`. The record itself, its signature and its size limit belong to discovery.

use std::fmt;
use std::ops::BitOr;

/// Record key of the [`Capabilities`].
pub const CAPABILITIES_KEY: &str = "waku2";
/// Record key of the [`Shards`].
pub const SHARDS_KEY: &str = "rs";
/// Record key of the addresses, see [`encode_multiaddrs`].
pub const MULTIADDRS_KEY: &str = "multiaddrs";

/// Shards that one list holds at most; nodes with more use a bit vector, whose bit order the implementations disagree on.
pub const MAX_LISTED_SHARDS: usize = 63;

/// Why the value of a record field cannot be written or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordFieldError {
    /// `waku2` is one byte.
    #[error("`waku2` has {0} bytes, it must have 1")]
    Capabilities(usize),
    /// `rs` is cluster, count and as many shards; it does not add up.
    #[error("`rs` has {0} bytes, which is not 3 plus 2 for each shard it announces")]
    Shards(usize),
    /// Too many shards for a list.
    #[error("{0} shards do not fit a list, which holds at most {MAX_LISTED_SHARDS}")]
    TooManyShards(usize),
    /// `multiaddrs` ends inside an address.
    #[error("`multiaddrs` ends inside an address")]
    Truncated,
    /// `multiaddrs` holds an address of no bytes.
    #[error("`multiaddrs` holds an empty address")]
    EmptyAddress,
    /// The address does not fit its 16-bit length.
    #[error("an address of {0} bytes is too long for `multiaddrs`")]
    AddressTooLong(usize),
}

/// What a node offers, one bit each.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Capabilities(u8);

impl Capabilities {
    /// No capability.
    pub const NONE: Self = Self(0);
    /// Relays messages by gossipsub.
    pub const RELAY: Self = Self(1 << 0);
    /// Answers store queries.
    pub const STORE: Self = Self(1 << 1);
    /// Serves filter subscriptions.
    pub const FILTER: Self = Self(1 << 2);
    /// Serves lightpush; set only by nodes that also relay.
    pub const LIGHTPUSH: Self = Self(1 << 3);
    /// Synchronises stores.
    pub const SYNC: Self = Self(1 << 4);
    /// Mixes. A hint, no proof: some presets set the bit without mixing (`spec/waku.md §5.2`).
    pub const MIX: Self = Self(1 << 5);

    /// All defined bits with their names, lowest first.
    pub const ALL: [(Self, &'static str); 6] = [
        (Self::RELAY, "relay"),
        (Self::STORE, "store"),
        (Self::FILTER, "filter"),
        (Self::LIGHTPUSH, "lightpush"),
        (Self::SYNC, "sync"),
        (Self::MIX, "mix"),
    ];

    /// Reads the bit field; bits that are not defined yet are kept.
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// The bit field.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// True if all bits of `other` are set here.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The value of the record field.
    pub const fn encode(self) -> [u8; 1] {
        [self.0]
    }

    /// Reads the value of the record field.
    ///
    /// # Errors
    /// [`RecordFieldError::Capabilities`] unless it is one byte.
    pub fn decode(value: &[u8]) -> Result<Self, RecordFieldError> {
        match value {
            [bits] => Ok(Self(*bits)),
            _ => Err(RecordFieldError::Capabilities(value.len())),
        }
    }
}

impl BitOr for Capabilities {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Names joined by `+`, for instance `relay+mix`.
impl fmt::Debug for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = Self::ALL.iter().filter(|(bit, _)| self.contains(*bit)).map(|&(_, name)| name).collect();
        write!(f, "Capabilities({})", names.join("+"))
    }
}

/// The shards of one cluster that a node relays, as the key `rs` lists them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Shards {
    /// The cluster.
    pub cluster: u16,
    /// The shards.
    pub shards: Vec<u16>,
}

impl Shards {
    /// Cluster (2 bytes), count (1 byte), shards (2 bytes each), big endian.
    ///
    /// # Errors
    /// [`RecordFieldError::TooManyShards`] above [`MAX_LISTED_SHARDS`].
    pub fn encode(&self) -> Result<Vec<u8>, RecordFieldError> {
        let count = u8::try_from(self.shards.len())
            .ok()
            .filter(|&count| usize::from(count) <= MAX_LISTED_SHARDS)
            .ok_or(RecordFieldError::TooManyShards(self.shards.len()))?;
        let mut value = Vec::with_capacity(3 + 2 * self.shards.len());
        value.extend_from_slice(&self.cluster.to_be_bytes());
        value.push(count);
        for shard in &self.shards {
            value.extend_from_slice(&shard.to_be_bytes());
        }
        Ok(value)
    }

    /// Reads the value of the record field.
    ///
    /// # Errors
    /// [`RecordFieldError::Shards`] if the length is not what the count says.
    pub fn decode(value: &[u8]) -> Result<Self, RecordFieldError> {
        let malformed = RecordFieldError::Shards(value.len());
        let [high, low, count, shards @ ..] = value else {
            return Err(malformed);
        };
        if shards.len() != 2 * usize::from(*count) {
            return Err(malformed);
        }
        let shards = shards.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
        Ok(Self { cluster: u16::from_be_bytes([*high, *low]), shards })
    }
}

/// Writes binary multiaddrs (without `/p2p`), each behind its length of 2 bytes; repetitions are left out.
///
/// # Errors
/// [`RecordFieldError::EmptyAddress`] or [`RecordFieldError::AddressTooLong`].
pub fn encode_multiaddrs<A: AsRef<[u8]>>(addresses: &[A]) -> Result<Vec<u8>, RecordFieldError> {
    let mut value = Vec::new();
    for (index, address) in addresses.iter().enumerate() {
        let address = address.as_ref();
        if addresses[..index].iter().any(|earlier| earlier.as_ref() == address) {
            continue;
        }
        let len = u16::try_from(address.len()).map_err(|_| RecordFieldError::AddressTooLong(address.len()))?;
        if len == 0 {
            return Err(RecordFieldError::EmptyAddress);
        }
        value.extend_from_slice(&len.to_be_bytes());
        value.extend_from_slice(address);
    }
    Ok(value)
}

/// Reads the binary multiaddrs of a record (300 bytes at most), without repetitions. They are not looked into: a reader skips those that it
/// cannot decode.
///
/// # Errors
/// [`RecordFieldError::Truncated`] or [`RecordFieldError::EmptyAddress`].
pub fn decode_multiaddrs(mut value: &[u8]) -> Result<Vec<&[u8]>, RecordFieldError> {
    let mut addresses: Vec<&[u8]> = Vec::new();
    while !value.is_empty() {
        let (len, rest) = value.split_first_chunk().ok_or(RecordFieldError::Truncated)?;
        let len = usize::from(u16::from_be_bytes(*len));
        if len == 0 {
            return Err(RecordFieldError::EmptyAddress);
        }
        let (address, rest) = rest.split_at_checked(len).ok_or(RecordFieldError::Truncated)?;
        if !addresses.contains(&address) {
            addresses.push(address);
        }
        value = rest;
    }
    Ok(addresses)
}
