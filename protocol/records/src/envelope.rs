//! Signed envelopes: bytes, what they are, and the signature of the peer that made them.
//!
//! The signature covers a domain, the payload type and the payload, each behind its length, so that a signature made for
//! one purpose serves no other (`spec/waku.md §5.3`, §6.6).

use libp2p_identity::{DecodingError, Keypair, PublicKey, SigningError};
use prost::Message as _;

/// What an envelope is made and read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purpose {
    /// Separates signatures of different protocols.
    pub domain: &'static str,
    /// Says what the payload is.
    pub payload_type: &'static [u8],
}

/// An envelope whose signature is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedEnvelope {
    /// Who signed.
    pub signer: PublicKey,
    /// What was signed.
    pub payload: Vec<u8>,
}

/// An envelope whose signature was not checked.
pub(crate) struct Parts {
    /// The signer's key, as libp2p writes it.
    pub(crate) public_key: Vec<u8>,
    /// What the signature covers.
    pub(crate) signed: Vec<u8>,
    pub(crate) payload: Vec<u8>,
    pub(crate) signature: Vec<u8>,
}

/// Why an envelope is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// The bytes are no envelope.
    #[error("not a signed envelope: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// The key is not valid.
    #[error("the envelope's key is invalid: {0}")]
    Key(#[from] DecodingError),
    /// The payload is of another type.
    #[error("the envelope's payload type is not the one expected")]
    PayloadType,
    /// The signature does not fit.
    #[error("the envelope's signature is wrong")]
    Signature,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Fields {
    #[prost(bytes = "vec", tag = "1")]
    public_key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    payload_type: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    payload: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    signature: Vec<u8>,
}

impl Purpose {
    /// Signs a payload.
    ///
    /// # Errors
    /// Those of the key; a secp256k1 or ed25519 key has none.
    pub fn seal(self, key: &Keypair, payload: Vec<u8>) -> Result<Vec<u8>, SigningError> {
        let signature = key.sign(&self.signed_bytes(&payload))?;
        let public_key = key.public().encode_protobuf();
        Ok(Fields { public_key, payload_type: self.payload_type.to_vec(), payload, signature }.encode_to_vec())
    }

    /// Reads an envelope and checks its signature. Whose it should be is for the caller to compare.
    ///
    /// # Errors
    /// [`EnvelopeError`].
    pub fn open(self, bytes: &[u8]) -> Result<OpenedEnvelope, EnvelopeError> {
        let Fields { public_key, payload_type, payload, signature } = Fields::decode(bytes)?;
        if payload_type != self.payload_type {
            return Err(EnvelopeError::PayloadType);
        }
        let signer = PublicKey::try_decode_protobuf(&public_key)?;
        if !signer.verify(&self.signed_bytes(&payload), &signature) {
            return Err(EnvelopeError::Signature);
        }
        Ok(OpenedEnvelope { signer, payload })
    }

    /// Takes an envelope apart whose signature somebody else is to check.
    ///
    /// # Errors
    /// [`EnvelopeError::Malformed`] or [`EnvelopeError::PayloadType`].
    pub(crate) fn take_apart(self, bytes: &[u8]) -> Result<Parts, EnvelopeError> {
        let Fields { public_key, payload_type, payload, signature } = Fields::decode(bytes)?;
        if payload_type != self.payload_type {
            return Err(EnvelopeError::PayloadType);
        }
        Ok(Parts { public_key, signed: self.signed_bytes(&payload), payload, signature })
    }

    /// The payload of an envelope whose signature was checked before.
    ///
    /// # Errors
    /// [`EnvelopeError::Malformed`] or [`EnvelopeError::PayloadType`].
    pub(crate) fn payload(self, bytes: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
        let Fields { payload_type, payload, .. } = Fields::decode(bytes)?;
        if payload_type == self.payload_type { Ok(payload) } else { Err(EnvelopeError::PayloadType) }
    }

    fn signed_bytes(self, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.domain.len() + self.payload_type.len() + payload.len() + 15);
        for part in [self.domain.as_bytes(), self.payload_type, payload] {
            let mut buffer = unsigned_varint::encode::usize_buffer();
            out.extend_from_slice(unsigned_varint::encode::usize(part.len(), &mut buffer));
            out.extend_from_slice(part);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PURPOSE: Purpose = Purpose { domain: "test-domain", payload_type: &[3, 1] };

    fn key() -> Keypair {
        let secret = libp2p_identity::secp256k1::SecretKey::try_from_bytes([7; 32]).unwrap();
        libp2p_identity::secp256k1::Keypair::from(secret).into()
    }

    #[test]
    fn opens_what_it_sealed() {
        let bytes = PURPOSE.seal(&key(), b"payload".to_vec()).unwrap();
        let opened = PURPOSE.open(&bytes).unwrap();
        assert_eq!(opened, OpenedEnvelope { signer: key().public(), payload: b"payload".to_vec() });
    }

    #[test]
    fn a_signature_serves_one_purpose_only() {
        let bytes = PURPOSE.seal(&key(), b"payload".to_vec()).unwrap();
        let other_domain = Purpose { domain: "other-domain", ..PURPOSE };
        assert!(matches!(other_domain.open(&bytes), Err(EnvelopeError::Signature)));
        let other_type = Purpose { payload_type: &[3, 2], ..PURPOSE };
        assert!(matches!(other_type.open(&bytes), Err(EnvelopeError::PayloadType)));
    }

    #[test]
    fn every_changed_byte_is_refused_or_changes_nothing() {
        let bytes = PURPOSE.seal(&key(), b"payload".to_vec()).unwrap();
        for index in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[index] ^= 1;
            assert!(PURPOSE.open(&changed).is_err(), "byte {index}");
        }
    }

    #[test]
    fn refuses_what_is_cut_short() {
        let bytes = PURPOSE.seal(&key(), b"payload".to_vec()).unwrap();
        for len in 0..bytes.len() {
            assert!(PURPOSE.open(&bytes[..len]).is_err(), "{len} bytes");
        }
    }
}
