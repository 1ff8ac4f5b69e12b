//! Tickets: how long an advertiser has waited, signed by the registrar that lets it wait (`spec/waku.md §6.6`).

use libp2p_identity::{Keypair, PublicKey, SigningError};

/// A registrar's promise: who comes back with it in time has its waiting counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The advertisement that waits, encoded.
    pub advertisement: Vec<u8>,
    /// When it was first asked for, in Unix seconds of the registrar.
    pub first_asked: u64,
    /// When this ticket was given, in Unix seconds of the registrar.
    pub issued: u64,
    /// How long to wait from then, in seconds.
    pub wait: u32,
    /// Of the registrar.
    pub signature: Vec<u8>,
}

impl Ticket {
    /// Signs a ticket.
    ///
    /// # Errors
    /// Those of the key; a secp256k1 or ed25519 key has none.
    pub fn sign(
        key: &Keypair,
        advertisement: Vec<u8>,
        first_asked: u64,
        issued: u64,
        wait: u32,
    ) -> Result<Self, SigningError> {
        let mut ticket = Self { advertisement, first_asked, issued, wait, signature: Vec::new() };
        ticket.signature = key.sign(&ticket.signed_bytes())?;
        Ok(ticket)
    }

    /// True if the registrar with this key signed it.
    #[must_use]
    pub fn is_of(&self, registrar: &PublicKey) -> bool {
        registrar.verify(&self.signed_bytes(), &self.signature)
    }

    /// Advertisement, first asking and issue (8 bytes each), wait (4 bytes); big endian.
    fn signed_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.advertisement.len() + 20);
        bytes.extend_from_slice(&self.advertisement);
        bytes.extend_from_slice(&self.first_asked.to_be_bytes());
        bytes.extend_from_slice(&self.issued.to_be_bytes());
        bytes.extend_from_slice(&self.wait.to_be_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> Keypair {
        let secret = libp2p_identity::secp256k1::SecretKey::try_from_bytes([seed; 32]).unwrap();
        libp2p_identity::secp256k1::Keypair::from(secret).into()
    }

    #[test]
    fn signs_the_fields_one_after_another_big_endian() {
        let ticket = Ticket::sign(&key(1), vec![0xaa, 0xbb], 1, 2, 3).unwrap();
        assert_eq!(hex::encode(ticket.signed_bytes()), "aabb0000000000000001000000000000000200000003");
        assert!(ticket.is_of(&key(1).public()));
    }

    #[test]
    fn a_changed_ticket_or_another_registrar_is_refused() {
        let ticket = Ticket::sign(&key(1), vec![0xaa, 0xbb], 10, 20, 30).unwrap();
        assert!(!ticket.is_of(&key(2).public()));
        let changes: [fn(&mut Ticket); 5] = [
            |ticket| ticket.advertisement = vec![0xaa],
            |ticket| ticket.first_asked = 9,
            |ticket| ticket.issued = 19,
            |ticket| ticket.wait = 29,
            |ticket| ticket.signature.clear(),
        ];
        for change in changes {
            let mut changed = ticket.clone();
            change(&mut changed);
            assert!(!changed.is_of(&key(1).public()), "{changed:?}");
        }
    }
}
