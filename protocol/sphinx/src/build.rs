//! Building forward packets (`spec/mix-wire.md` §6 to §8).

use core::fmt;

use rand_core::CryptoRng;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::Sphinx;
use crate::block::{TooLong, split_plaintext};
use crate::curve::Bytes32;
use crate::header::{self, Final};
use crate::keys::PublicKey;
use crate::layout::{AddressBytes, DELTA_LEN, MESSAGE_LEN, PACKET_LEN, PATH_LEN, SEQUENCE_LEN, SURB_ID_LEN};
use crate::packet::PacketMut;

/// One hop of a path, as its sender knows it.
#[derive(Clone, Copy)]
pub struct PathHop {
    /// The hop's public mix key.
    pub key: PublicKey,
    /// Where the hop before it sends packets.
    pub address: AddressBytes,
    /// How long the hop holds the packet, in milliseconds; not used for the last hop, whose field is zero (§6.2). The second
    /// format has room for 16383 and cuts what is longer.
    pub delay_ms: u16,
}

impl fmt::Debug for PathHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PathHop(redacted)")
    }
}

impl Sphinx {
    /// Builds a packet in the first 4608 bytes of `out`; what follows them, room for a proof, is left untouched.
    ///
    /// The packet goes to `path[0]` and ends at `path[2]`. A `destination` of zeros means that the exit itself is
    /// the destination.
    ///
    /// # Errors
    /// [`BuildError::BodyTooLong`] and [`BuildError::OutputTooShort`] with the sizes. `out` is then unchanged.
    /// [`BuildError::Degenerate`] cannot happen with a working random source.
    pub fn build<R: CryptoRng + ?Sized>(
        &self,
        rng: &mut R,
        path: &[PathHop; PATH_LEN],
        destination: &AddressBytes,
        body: &[u8],
        out: &mut [u8],
    ) -> Result<(), BuildError> {
        let mut ephemeral = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *ephemeral);
        let packet = packet_mut(out)?;
        let sequence = random_sequence(rng);
        #[cfg(feature = "weaknesses")]
        let sequence = self.named_sequence(body).unwrap_or(sequence);
        self.write_body(sequence, body, packet.delta)?;
        self.finish(&ephemeral, path, destination, packet)
    }

    /// Builds the packet that `ephemeral` and a whole message block determine; see [`Sphinx::build`].
    ///
    /// Made for vectors. An ephemeral key used twice links two packets.
    ///
    /// # Errors
    /// [`BuildError::OutputTooShort`], or [`BuildError::Degenerate`] with probability about 2^−126.
    pub fn build_block(
        &self,
        ephemeral: &[u8; 32],
        path: &[PathHop; PATH_LEN],
        destination: &AddressBytes,
        block: &[u8; MESSAGE_LEN],
        out: &mut [u8],
    ) -> Result<(), BuildError> {
        let packet = packet_mut(out)?;
        write_plaintext(block, packet.delta);
        self.finish(ephemeral, path, destination, packet)
    }

    /// The message block of `body` (§7.2); `sequence` is used by [`crate::Block::Seq`] only.
    ///
    /// Made for vectors, where the sequence field is known. The other methods fill it with random bytes.
    ///
    /// # Errors
    /// [`BuildError::BodyTooLong`].
    pub fn message_block(&self, body: &[u8], sequence: [u8; SEQUENCE_LEN]) -> Result<[u8; MESSAGE_LEN], BuildError> {
        let mut block = [0; MESSAGE_LEN];
        self.write_block(body, sequence, &mut block)?;
        Ok(block)
    }

    fn finish(
        &self,
        ephemeral: &Bytes32,
        path: &[PathHop; PATH_LEN],
        destination: &AddressBytes,
        packet: PacketMut<'_>,
    ) -> Result<(), BuildError> {
        let last = Final { destination, id: &[0; SURB_ID_LEN] };
        let secrets = header::build(ephemeral, path, &last, packet.header)?;
        for secret in secrets.0.iter().rev() {
            self.profile.cipher.add_layer(secret, packet.delta);
        }
        Ok(())
    }

    /// Writes the plaintext of `body`; `sequence` is used where there is such a field.
    pub(crate) fn write_body(
        &self,
        sequence: [u8; SEQUENCE_LEN],
        body: &[u8],
        delta: &mut [u8; DELTA_LEN],
    ) -> Result<(), BuildError> {
        let (prefix, block) = split_plaintext(delta);
        self.write_block(body, sequence, block)?;
        prefix.fill(0);
        Ok(())
    }

    fn write_block(&self, body: &[u8], sequence: [u8; SEQUENCE_LEN], block: &mut [u8]) -> Result<(), BuildError> {
        self.profile
            .write_block(body, sequence, block)
            .map_err(|TooLong| BuildError::BodyTooLong { len: body.len(), max: self.profile.data_len() })
    }
}

/// A sequence field that says nothing.
pub(crate) fn random_sequence<R: CryptoRng + ?Sized>(rng: &mut R) -> [u8; SEQUENCE_LEN] {
    let mut sequence = [0; SEQUENCE_LEN];
    rng.fill_bytes(&mut sequence);
    sequence
}

/// The packet at the beginning of a caller's buffer.
pub(crate) fn packet_mut(out: &mut [u8]) -> Result<PacketMut<'_>, BuildError> {
    let len = out.len();
    PacketMut::new(out).ok_or(BuildError::OutputTooShort { len, needed: PACKET_LEN })
}

/// Writes the plaintext of a payload whose message block is given.
pub(crate) fn write_plaintext(block: &[u8; MESSAGE_LEN], delta: &mut [u8; DELTA_LEN]) {
    let (prefix, message) = split_plaintext(delta);
    prefix.fill(0);
    message.copy_from_slice(block);
}

/// Why a packet or a single-use reply block could not be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The body does not fit in one packet of this profile.
    #[error("the body has {len} bytes, but one packet carries at most {max}")]
    BodyTooLong {
        /// Bytes of the body.
        len: usize,
        /// Most bytes that the profile carries.
        max: usize,
    },
    /// The output buffer cannot hold a packet.
    #[error("the output buffer has {len} bytes, but a packet needs {needed}")]
    OutputTooShort {
        /// Bytes of the buffer.
        len: usize,
        /// Bytes of a packet without its proof.
        needed: usize,
    },
    /// The SURB id is all zero, which on the wire means "no SURB" (§9.1).
    #[error("the id of a single-use reply block must not be zero")]
    ZeroSurbId,
    /// The random scalars have no usable product: probability about 2^−126, so the random source is broken.
    #[error("the random source gave a degenerate scalar")]
    Degenerate,
    /// An address that the second format has no room for.
    #[error(
        "a packet of this format carries only IPv4 addresses of secp256k1 peers that are reached directly by TCP or QUIC, \
         none behind a circuit relay"
    )]
    Address,
    /// The single-use reply block belongs to another packet format.
    #[error("the single-use reply block is of another packet format")]
    ForeignSurb,
}
