//! Processing a packet allocates no memory of its own.
//!
//! The counting allocator of `allocation-counter` sees every Rust allocation of this thread. `open` makes none. The
//! X25519 backend of native targets, aws-lc-rs, wraps each multiplication in short-lived 32-byte allocations
//! (the peer's point and the product); the tests pin these down as the only ones, and as freed on return.

use allocation_counter::{AllocationInfo, measure};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use wakumix_sphinx::{
    ADDRESS_LEN, AddressBytes, BufferPool, Opened, PACKET_LEN, PathHop, PrivateKey, Profile, Sphinx, WireFormat,
};

/// Bytes that aws-lc-rs allocates for one multiplication: a copy of the peer's point, and the product.
const MULTIPLICATION_BYTES: u64 = 64;

fn nodes() -> ([PrivateKey; 3], [PathHop; 3]) {
    let keys = [1, 2, 3].map(|byte| PrivateKey::from_bytes([byte; 32]));
    let path = keys.clone().map(|key| PathHop { key: key.public(), address: address(), delay_ms: 1 });
    (keys, path)
}

/// A direct address (`spec/mix-wire.md §5.1`), which both formats can carry.
fn address() -> AddressBytes {
    let mut address = [0; ADDRESS_LEN];
    address[7..14].copy_from_slice(&[0x00, 0x25, 0x08, 0x02, 0x12, 0x21, 0x02]);
    address[14..46].fill(7);
    address
}

/// Every format that a node may speak.
fn formats() -> Vec<WireFormat> {
    let mix = Profile::PRESETS.iter().map(|(_, profile)| WireFormat::Mix(*profile));
    let second = [
        #[cfg(feature = "sphinx-packet")]
        WireFormat::SphinxPacket,
    ];
    mix.chain(second).collect()
}

fn assert_only_a_multiplication(info: &AllocationInfo) {
    assert!(info.bytes_total <= MULTIPLICATION_BYTES, "{info:?}");
    assert_eq!(info.bytes_current, 0, "{info:?}");
}

#[test]
fn a_hop_allocates_nothing_but_what_x25519_does() {
    let (keys, path) = nodes();
    for wire in formats() {
        let format = wire.format();
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let mut packet = vec![0; format.packet_len()];
        format.build(&mut rng, &path, &[0; ADDRESS_LEN], b"body", &mut packet).unwrap();
        for key in &keys {
            let mut auth = None;
            let info = measure(|| auth = format.authenticate(key, &packet).ok());
            assert_only_a_multiplication(&info);
            let auth = auth.unwrap();

            let mut opened = None;
            let info = measure(|| opened = format.open(&mut packet, auth).ok());
            assert_eq!(info.count_total, 0, "{info:?}");

            if let Opened::Forward { blinding, .. } = opened.unwrap() {
                let info = measure(|| format.blind(&mut packet, blinding).unwrap());
                assert_only_a_multiplication(&info);
            }
        }
    }
}

#[test]
fn a_packet_with_a_wrong_size_or_alpha_costs_no_allocation() {
    let (keys, _) = nodes();
    let sphinx = Sphinx::new(Profile::default());
    for packet in [vec![0; PACKET_LEN], vec![1; PACKET_LEN - 1]] {
        let info = measure(|| assert!(sphinx.authenticate(&keys[0], &packet).is_err()));
        assert_eq!(info.count_total, 0, "{info:?}");
    }
}

#[test]
fn a_recycled_buffer_costs_no_allocation() {
    let pool = BufferPool::new(2, PACKET_LEN);
    drop(pool.take());
    let info = measure(|| drop(pool.take()));
    assert_eq!(info.count_total, 0, "{info:?}");
}
