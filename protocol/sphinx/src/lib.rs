//! The LIBP2P-MIX packet: build, unwrap, single-use reply blocks.

mod block;
mod build;
mod curve;
mod header;
#[doc(hidden)]
pub mod inspect;
mod kdf;
mod keys;
mod layout;
mod lioness;
mod packet;
mod payload;
mod pool;
mod profile;
mod scalar;
mod surb;
mod unwrap;

#[cfg(test)]
mod testing;

pub use build::{BuildError, PathHop};
pub use keys::{KeyError, PrivateKey, PublicKey};
pub use layout::{
    ADDRESS_LEN, ALPHA_LEN, AddressBytes, BETA_LEN, DELAY_LEN, DELTA_LEN, FILLER_LEN, FINAL_PAD_LEN, GAMMA_LEN,
    HEADER_LEN, HOP_LEN, MAX_PATH_LEN, MAX_SURBS, MESSAGE_LEN, PACKET_LEN, PAD_LENGTH_LEN, PATH_LEN, SECURITY_LEN,
    SEQUENCE_LEN, SURB_ID_LEN, SURB_KEY_LEN, SURB_LEN, ZERO_PREFIX_LEN,
};
pub use pool::{BufferPool, PacketBuf};
pub use profile::{Block, Cipher, MAX_PROOF_LEN, Profile, ProfileError};
pub use surb::{ReplyError, ReplyKeys, Surb, SurbError, SurbId};
pub use unwrap::{Authenticated, Blinding, Opened, Reject, ReplayTag};

/// The packet format of one [`Profile`]: every operation on packets starts here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sphinx {
    profile: Profile,
}

impl Sphinx {
    /// The format of `profile`.
    #[must_use]
    pub fn new(profile: Profile) -> Self {
        Self { profile }
    }

    /// The profile of this format.
    #[must_use]
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// Splits a received packet into the 4608 bytes that a proof covers and the proof (§3, §17).
    ///
    /// # Errors
    /// [`Reject::Size`] when `packet` is not exactly as long as the profile says.
    pub fn split_proof<'a>(&self, packet: &'a [u8]) -> Result<(&'a [u8], &'a [u8]), Reject> {
        if packet.len() != self.profile.packet_len() {
            return Err(Reject::Size);
        }
        packet.split_at_checked(PACKET_LEN).ok_or(Reject::Size)
    }
}
