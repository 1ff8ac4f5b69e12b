//! The layers around the payload δ, one strategy for each [`Cipher`] (`spec/mix-wire.md §7.1` and §9).

use ctr::cipher::StreamCipher;

use crate::curve::Bytes32;
use crate::kdf::{lioness_seed, payload_keystream};
use crate::layout::{DELTA_LEN, SURB_KEY_LEN};
use crate::lioness::Lioness;
use crate::profile::Cipher;

type Delta = [u8; DELTA_LEN];

impl Cipher {
    /// Adds the layer that the hop with this shared secret removes.
    pub(crate) fn add_layer(self, secret: &Bytes32, delta: &mut Delta) {
        match self {
            Self::AesCtr => payload_keystream(secret).apply_keystream(delta),
            Self::Lioness => Lioness::new(&*lioness_seed(secret)).encrypt(delta),
        }
    }

    /// Removes the layer of the hop with this shared secret.
    pub(crate) fn remove_layer(self, secret: &Bytes32, delta: &mut Delta) {
        match self {
            Self::AesCtr => payload_keystream(secret).apply_keystream(delta),
            Self::Lioness => Lioness::new(&*lioness_seed(secret)).decrypt(delta),
        }
    }

    /// Encrypts a reply under the key of its SURB, as an exit does.
    pub(crate) fn seal_reply(self, key: &[u8; SURB_KEY_LEN], delta: &mut Delta) {
        match self {
            Self::AesCtr => payload_keystream(key).apply_keystream(delta),
            Self::Lioness => Lioness::new(key).encrypt(delta),
        }
    }

    /// Undoes [`Cipher::seal_reply`].
    pub(crate) fn unseal_reply(self, key: &[u8; SURB_KEY_LEN], delta: &mut Delta) {
        match self {
            Self::AesCtr => payload_keystream(key).apply_keystream(delta),
            Self::Lioness => Lioness::new(key).decrypt(delta),
        }
    }
}
