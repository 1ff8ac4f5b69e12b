//! Sphinx packets (Danezis and Goldberg, 2009): build, unwrap, single-use reply blocks, for paths of three hops.
//!
//! Two formats, behind the one trait [`PacketFormat`]:
//!
//! * [`Sphinx`], the LIBP2P-MIX packet as the Waku fleet speaks it under `/mix/1.0.0`, in the variants that a [`Profile`]
//!   names. Most of this page is about it. Section numbers (§) in this crate are those of `spec/mix-wire.md`, the
//!   byte-level description of that wire.
//! * [`SphinxPacketFormat`], the packet of the `sphinx-packet` crate, long enough for a message of 4096 bytes with its reply
//!   block, for fleets that agree on it (`docs/decisions/008-second-format.md`). Behind the default feature
//!   `sphinx-packet`. Its layout stands in `sphinx_packet.rs`.
//!
//! A node holds one X25519 key for both, and tells their packets apart by their length. [`WireFormat`] names a format in
//! configuration and records.
//!
//! # Contract
//!
//! * Bytes in, bytes out: no clock, socket, thread or global randomness. Random bytes come from the caller.
//! * Packets of both formats are processed in place, in a buffer that the caller owns; this crate allocates nothing for a
//!   packet. (The X25519 backend of native targets makes a few short-lived 32-byte allocations of its own.)
//! * A profile is configuration, never guessed: profiles share a protocol id and drop each other's packets.
//! * No input makes a function panic. A packet is refused with a [`Reject`], which is for counting; on the wire the
//!   answer is silence.
//! * Secrets are wiped when dropped and never shown by `Debug`; nor are tags, ids or addresses of a packet.
//! * Whatever depends on a secret (MAC, zero prefix, padding) is compared in constant time.
//!
//! Not here: framing, proofs (carried, not made), addresses beyond their 94 bytes, path choice, replay stores, delays.
//! The second format takes addresses apart, because it has 40 bytes for them.
//!
//! # Layout of the first format
//!
//! | bytes of a packet | name | content | § |
//! |---|---|---|---|
//! | 0..32 | α | X25519 u-coordinate, fresh at every hop | 4.1, 6.1 |
//! | 32..608 | β | routing information of all hops, encrypted in layers | 6.3, 6.4 |
//! | 608..624 | γ | HMAC-SHA-256 of β, first 16 bytes | 4.4 |
//! | 624..4608 | δ | payload, encrypted in layers | 7.1 |
//! | 4608.. | σ | proof, [`Profile::proof_len`] bytes, outside Sphinx | 17 |
//!
//! A hop decrypts β, extended by 112 zero bytes, to its routing block of 688 bytes (§10.1):
//!
//! | bytes | in the middle | exit | reply |
//! |---|---|---|---|
//! | 0..94 | address of the next hop | destination, or zeros | zeros |
//! | 94..96 | delay, u16 BE, milliseconds | 0 | 0 |
//! | 96..112 | γ of the next hop | zeros | SURB id |
//! | 112..352 | β of the next hop … | zeros | zeros |
//! | 352..688 | … | not used | not used |
//!
//! With all layers removed, δ is 16 zero bytes and the message block (§7.2):
//!
//! | bytes of δ | [`Block::Seq`] | [`Block::Pad`] |
//! |---|---|---|
//! | 0..16 | zeros | zeros |
//! | 16..18 | padding length p, u16 BE | the same |
//! | 18..18+p | zeros | zeros |
//! | 18+p.. | body | body |
//! | 3980..3984 | four random bytes | end of the body |
//!
//! # Countermeasures
//!
//! The reference has known weaknesses (§21); this crate answers those that a packet format can answer, without
//! leaving the wire: a random sequence field (W1); zero prefix and all padding checked, in replies too, before
//! anything is used up (W2, W7); a replay tag that is the same for every encoding of α and exists only after the MAC
//! check (W5, W6); zero and non-canonical α and zero secrets refused (W5); constant-time comparisons (W10); reply
//! blocks whose type allows one use (W11). They hold for both formats; the sequence field is the first one's alone.
//!
//! With the feature `weaknesses`, which no release has, the attack suite turns some of them off: see [`Weakness`].
//!
//! # Example
//!
//! ```
//! use wakumix_sphinx::{ADDRESS_LEN, BufferPool, Opened, PathHop, PrivateKey, Profile, Sphinx};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut rng = rand::rng();
//! let profile: Profile = "lioness/pad".parse()?;
//! let sphinx = Sphinx::new(profile);
//! let pool = BufferPool::new(16, profile.packet_len());
//!
//! let keys = [(); 3].map(|()| PrivateKey::generate(&mut rng));
//! let path = keys.each_ref().map(|key| PathHop {
//!     key: key.public(),
//!     address: [1; ADDRESS_LEN],
//!     delay_ms: 50,
//! });
//! let exit_is_destination = [0; ADDRESS_LEN];
//!
//! let mut packet = pool.take().ok_or("all buffers are in use")?;
//! sphinx.build(&mut rng, &path, &exit_is_destination, b"hello mix", &mut packet)?;
//!
//! for key in &keys {
//!     let authentic = sphinx.authenticate(key, &packet)?;
//!     let _replay_tag = authentic.tag(); // seen before? then drop the packet here
//!     match sphinx.open(&mut packet, authentic)? {
//!         Opened::Forward { blinding, .. } => sphinx.blind(&mut packet, blinding)?,
//!         Opened::Exit { body, .. } => assert_eq!(&packet[body], b"hello mix"),
//!         Opened::Reply { .. } => unreachable!("not built from a reply block"),
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod block;
mod build;
mod countermeasures;
mod curve;
mod format;
mod header;
#[doc(hidden)]
pub mod inspect;
mod kdf;
mod keys;
mod layout;
mod lioness;
mod macros;
mod packet;
mod path;
mod payload;
mod pool;
mod profile;
mod scalar;
#[cfg(feature = "sphinx-packet")]
mod sphinx_packet;
mod surb;
mod unwrap;
mod weakness;

#[cfg(test)]
mod testing;

pub use format::{FormatKind, FormatSet, PacketFormat, WireFormat, WireFormatError};
pub use keys::{KeyError, PrivateKey, PublicKey};
pub use layout::{
    ADDRESS_LEN, ALPHA_LEN, AddressBytes, BETA_LEN, DELAY_LEN, DELTA_LEN, FILLER_LEN, FINAL_PAD_LEN, GAMMA_LEN,
    HEADER_LEN, HOP_LEN, MAX_PATH_LEN, MAX_SURBS, MESSAGE_LEN, PACKET_LEN, PAD_LENGTH_LEN, PATH_LEN, SECURITY_LEN,
    SEQUENCE_LEN, SURB_ID_LEN, SURB_KEY_LEN, SURB_LEN, ZERO_PREFIX_LEN,
};
pub use path::{BuildError, PathHop};
pub use pool::{BufferPool, PacketBuf};
pub use profile::{Block, Cipher, MAX_PROOF_LEN, Profile, ProfileError};
#[cfg(feature = "sphinx-packet")]
pub use sphinx_packet::SphinxPacketFormat;
pub use surb::{ReplyError, ReplyKeys, Surb, SurbError, SurbId};
pub use unwrap::{Authenticated, Blinding, Opened, Reject, ReplayTag};
pub use weakness::{Weakness, Weaknesses};

/// The packet format of one [`Profile`]: every operation on packets starts here. Elsewhere it is one of several
/// [`PacketFormat`]s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sphinx {
    profile: Profile,
    weaknesses: Weaknesses,
    #[cfg(feature = "weaknesses")]
    sender: Option<weakness::NamedSender>,
}

impl Sphinx {
    /// The format of `profile`.
    #[must_use]
    pub fn new(profile: Profile) -> Self {
        Self {
            profile,
            weaknesses: Weaknesses::NONE,
            #[cfg(feature = "weaknesses")]
            sender: None,
        }
    }

    /// The same format without these countermeasures, for the attack suite.
    #[must_use]
    pub fn weakened(self, weaknesses: Weaknesses) -> Self {
        Self { weaknesses, ..self }
    }

    /// The same format for a sender whose sequence fields name it, once [`Weakness::SenderInSequence`] is set: `id` is its
    /// peer id, `unix_seconds` the time that goes into every field.
    #[must_use]
    #[cfg(feature = "weaknesses")]
    pub fn weakened_sender(self, id: &[u8], unix_seconds: u32) -> Self {
        Self { sender: Some(weakness::NamedSender::new(id, unix_seconds)), ..self }
    }

    /// The profile of this format.
    #[must_use]
    pub fn profile(&self) -> Profile {
        self.profile
    }
}
