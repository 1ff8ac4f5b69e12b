//! Values that several unit tests share, from `spec/mix-wire.md Appendix A`.

use sha2::{Digest, Sha256};

use crate::keys::PrivateKey;
use crate::layout::AddressBytes;
use crate::path::PathHop;

/// 00 01 … 1f.
pub(crate) const COUNTING: [u8; 32] = {
    let mut bytes = [0; 32];
    let mut i = 0;
    while i < 32 {
        bytes[i as usize] = i;
        i += 1;
    }
    bytes
};

pub(crate) fn hex16(text: &str) -> [u8; 16] {
    let mut bytes = [0; 16];
    hex::decode_to_slice(text, &mut bytes).unwrap();
    bytes
}

pub(crate) fn hex32(text: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).unwrap();
    bytes
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// A direct address (§5.1): IPv4, transport, port, and the syntactic peer id of `n`.
fn address(ip: [u8; 4], transport: u8, port: u16, n: u8) -> AddressBytes {
    let mut address = [0; 94];
    address[..4].copy_from_slice(&ip);
    address[4] = transport;
    address[5..7].copy_from_slice(&port.to_be_bytes());
    address[7..14].copy_from_slice(&[0x00, 0x25, 0x08, 0x02, 0x12, 0x21, 0x02]);
    address[14..46].fill(n);
    address
}

/// The three hops of Appendix A.
pub(crate) fn appendix_path() -> [PathHop; 3] {
    [(0x10, 4001, 0xa0, 100), (0x20, 4002, 0xa1, 200), (0x30, 4003, 0xa2, 0)].map(|(key, port, n, delay_ms)| PathHop {
        key: PrivateKey::from_bytes([key; 32]).public(),
        address: address([127, 0, 0, 1], 0, port, n),
        delay_ms,
    })
}

/// 10.0.0.9, QUIC, port 9000, peer dd.
pub(crate) fn appendix_destination() -> AddressBytes {
    address([10, 0, 0, 9], 1, 9000, 0xdd)
}
