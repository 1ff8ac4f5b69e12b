//! The sequence field as the reference writes it, which names the sender to the exit (`spec/mix-wire.md §7.2`, §21 W1).

use sha2::{Digest, Sha256};

use super::Weakness;
use crate::Sphinx;
use crate::layout::SEQUENCE_LEN;

/// A sender that writes its name into every packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NamedSender {
    /// The first 32 bits of the hash of its peer id: what an exit computes back and looks up.
    id: u32,
    /// Whole seconds since 1970, in milliseconds.
    time_ms: i64,
}

impl NamedSender {
    pub(crate) fn new(peer_id: &[u8], unix_seconds: u32) -> Self {
        Self { id: first_word(Sha256::new_with_prefix(peer_id)), time_ms: i64::from(unix_seconds) * 1000 }
    }

    /// The field for a body: the sum wraps at 2^32 and is then taken mod 2^32 − 1.
    fn sequence(self, body: &[u8]) -> [u8; SEQUENCE_LEN] {
        let hash = Sha256::new_with_prefix(body).chain_update(self.time_ms.to_be_bytes());
        let sum = self.id.wrapping_add(first_word(hash));
        (sum % u32::MAX).to_be_bytes()
    }
}

impl Sphinx {
    /// The field of a sender that names itself; `None` for one that does not.
    pub(crate) fn named_sequence(&self, body: &[u8]) -> Option<[u8; SEQUENCE_LEN]> {
        let sender = self.sender.filter(|_| self.weaknesses.has(Weakness::SenderInSequence))?;
        Some(sender.sequence(body))
    }
}

fn first_word(hash: Sha256) -> u32 {
    let mut word = [0; SEQUENCE_LEN];
    word.copy_from_slice(&hash.finalize()[..SEQUENCE_LEN]);
    u32::from_be_bytes(word)
}
