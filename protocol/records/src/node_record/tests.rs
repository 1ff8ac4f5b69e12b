//! Vectors, the order of dropping, and bad input.

mod bad_input;
mod sizes;
mod vectors;

use enr::{Enr, k256::ecdsa::SigningKey};
use multiaddr::Multiaddr;
use wakumix_sphinx::{PrivateKey, PublicKey};
use wakumix_waku::record::{Capabilities, Shards};

use super::*;

const SEQ: u64 = 1_700_000_000;

fn key() -> SigningKey {
    SigningKey::from_slice(&[7; 32]).unwrap()
}

fn mix_key() -> PublicKey {
    PrivateKey::from_bytes([9; 32]).public()
}

fn address(text: &str) -> Multiaddr {
    text.parse().unwrap()
}

/// A node with an IPv4 address, all roles and eight shards.
fn fields() -> RecordFields {
    RecordFields {
        ip4: Some([192, 0, 2, 1].into()),
        tcp4: Some(60_000),
        udp4: Some(9000),
        capabilities: Some(Capabilities::RELAY | Capabilities::LIGHTPUSH | Capabilities::MIX),
        shards: Some(Shards { cluster: 2, shards: (0..8).collect() }),
        mix_key: Some(mix_key()),
        ..RecordFields::default()
    }
}

fn signed(fields: &RecordFields) -> Signed<SigningKey> {
    fields.sign(SEQ, &key()).unwrap()
}

fn read(record: &Enr<SigningKey>) -> NodeRecord {
    decode(&alloy_rlp::encode(record)).unwrap()
}
