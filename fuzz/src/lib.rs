//! What the targets share: a key, so that the code behind a signature is reached, the purposes of the envelopes, and packets
//! for which MACs hold.

#![forbid(unsafe_code)]

pub mod packets;

use std::sync::LazyLock;

use libp2p_identity::{Keypair, PublicKey, secp256k1};
use wakumix_records::envelope::{OpenedEnvelope, Purpose};

/// Of a mix descriptor.
pub const DESCRIPTOR: Purpose = Purpose { domain: "wakumix-mix-descriptor", payload_type: b"/wakumix/mix-descriptor" };
/// Of a libp2p peer record: rendezvous, and advertisements as nwaku makes them.
pub const PEER_RECORD: Purpose = Purpose { domain: "libp2p-peer-record", payload_type: &[3, 1] };
/// Of Waku's record with a mix key (`spec/waku.md §5.3`).
pub const MIX_RECORD: Purpose = Purpose { domain: "libp2p-custom-peer-record", payload_type: &[0x30, 0, 0] };

/// The time at which records are read; those of the seeds are valid then.
pub const NOW: u64 = 1_800_000_000;

/// The key that signs what is fuzzed.
pub static KEY: LazyLock<Keypair> = LazyLock::new(|| {
    let secret = secp256k1::SecretKey::try_from_bytes([7; 32]).expect("a fixed key is valid");
    secp256k1::Keypair::from(secret).into()
});

/// Whose signatures they are.
pub static SIGNER: LazyLock<PublicKey> = LazyLock::new(|| KEY.public());

/// A payload as it comes out of an envelope with a good signature.
#[must_use]
pub fn opened(payload: &[u8]) -> OpenedEnvelope {
    OpenedEnvelope { signer: SIGNER.clone(), payload: payload.to_vec() }
}

/// Puts a payload behind a good signature. It takes a hundred times as long as to read what is signed.
#[must_use]
pub fn sealed(purpose: Purpose, payload: &[u8]) -> Vec<u8> {
    purpose.seal(&KEY, payload.to_vec()).expect("a secp256k1 key signs")
}
