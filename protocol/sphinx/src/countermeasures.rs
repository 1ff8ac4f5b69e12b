//! The checks of this crate that the attack suite can take away; no other code of a release asks what [`Weaknesses`] there are.
//! Without the feature `weaknesses` there are none, and each function is its check.

use subtle::ConstantTimeEq;

use crate::curve::{Bytes32, is_canonical_nonzero};
use crate::kdf::blinding;
use crate::layout::{ALPHA_LEN, GAMMA_LEN};
use crate::profile::Cipher;
use crate::weakness::{Weakness, Weaknesses};

/// Whether α is the one encoding of its point that honest senders make (§4.1).
pub(crate) fn is_valid_alpha(weaknesses: Weaknesses, alpha: &[u8; ALPHA_LEN]) -> bool {
    is_canonical_nonzero(alpha) || weaknesses.has(Weakness::EncodingInTag)
}

/// Whether two MACs are equal, in time that does not show where they differ.
pub(crate) fn equal_macs(weaknesses: Weaknesses, computed: &[u8; GAMMA_LEN], received: &[u8; GAMMA_LEN]) -> bool {
    if weaknesses.has(Weakness::EarlyMacExit) {
        return computed.iter().zip(received).all(|(ours, theirs)| ours == theirs);
    }
    bool::from(computed.ct_eq(received))
}

/// The tag of a packet, which is a hash of the secret alone. The reference's, H(α‖s), also is its blinding factor.
pub(crate) fn tag(weaknesses: Weaknesses, of_secret: Bytes32, alpha: &[u8; ALPHA_LEN], secret: &Bytes32) -> Bytes32 {
    if weaknesses.has(Weakness::EncodingInTag) { *blinding(alpha, secret) } else { of_secret }
}

/// What of a plaintext is checked: everything, unless the attack suite takes a countermeasure away.
#[derive(Clone, Copy)]
pub(crate) struct Checks {
    pub(crate) prefix: bool,
    pub(crate) padding: bool,
}

impl Checks {
    /// At an exit.
    pub(crate) fn of_exit(weaknesses: Weaknesses) -> Self {
        Self { prefix: true, padding: !weaknesses.has(Weakness::UncheckedPadding) }
    }

    /// Of a reply, whose zero prefix the reference does not look at under AES-CTR (§9.3 step 3).
    pub(crate) fn of_reply(weaknesses: Weaknesses, cipher: Cipher) -> Self {
        let padding = !weaknesses.has(Weakness::UncheckedPadding);
        Self { prefix: padding || cipher == Cipher::Lioness, padding }
    }
}

/// Where a body of the second format ends although its padding is damaged: nowhere. The crate `sphinx-packet` takes whatever
/// follows the last marker for padding.
#[cfg(feature = "sphinx-packet")]
pub(crate) fn end_of_damaged(weaknesses: Weaknesses, marker: u8, block: &[u8]) -> Option<usize> {
    if weaknesses.has(Weakness::UncheckedPadding) { block.iter().rposition(|byte| *byte == marker) } else { None }
}
