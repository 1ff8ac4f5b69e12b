//! Building forward packets (`spec/mix-wire.md §6` to §8).

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::Sphinx;
use crate::block::{TooLong, split_plaintext};
use crate::curve::Bytes32;
use crate::header::{self, Final};
use crate::layout::{AddressBytes, DELTA_LEN, MESSAGE_LEN, PACKET_LEN, PATH_LEN, SEQUENCE_LEN, SURB_ID_LEN};
use crate::packet::PacketMut;
use crate::path::{BuildError, PathHop};

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
