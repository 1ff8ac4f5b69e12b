//! The operations of the second format in this crate.

use std::hint::black_box;

use wakumix_sphinx::{ADDRESS_LEN, AddressBytes, Opened, PacketFormat, PathHop, PrivateKey, SphinxPacketFormat};

use crate::{Operation, body, rng};

/// Bytes of its payload.
pub(crate) const PAYLOAD_LEN: usize = 5632;

fn nodes() -> ([PrivateKey; 3], [PathHop; 3]) {
    let mut rng = rng();
    let keys = [(); 3].map(|()| PrivateKey::generate(&mut rng));
    let mut address: AddressBytes = [0; ADDRESS_LEN];
    address[7..14].copy_from_slice(&[0x00, 0x25, 0x08, 0x02, 0x12, 0x21, 0x02]);
    address[14..46].fill(7);
    let path = keys.clone().map(|key| PathHop { key: key.public(), address, delay_ms: 50 });
    (keys, path)
}

fn packet(path: &[PathHop; 3]) -> Vec<u8> {
    let format = SphinxPacketFormat::new();
    let mut packet = vec![0; format.packet_len()];
    format.build(&mut rng(), path, &[0; ADDRESS_LEN], &body(), &mut packet).unwrap();
    packet
}

fn forward(key: &PrivateKey, packet: &mut [u8]) {
    let format = SphinxPacketFormat::new();
    let authentic = format.authenticate(key, packet).unwrap();
    match format.open(packet, authentic).unwrap() {
        Opened::Forward { blinding, .. } => format.blind(packet, blinding).unwrap(),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn hop() -> Operation {
    let (keys, path) = nodes();
    let received = packet(&path);
    let mut buffer = received.clone();
    Box::new(move || {
        buffer.copy_from_slice(black_box(&received));
        forward(&keys[0], &mut buffer);
        black_box(&buffer);
    })
}

pub(crate) fn exit() -> Operation {
    let format = SphinxPacketFormat::new();
    let (keys, path) = nodes();
    let mut received = packet(&path);
    forward(&keys[0], &mut received);
    forward(&keys[1], &mut received);
    let mut buffer = received.clone();
    Box::new(move || {
        buffer.copy_from_slice(black_box(&received));
        let authentic = format.authenticate(&keys[2], &buffer).unwrap();
        match format.open(&mut buffer, authentic).unwrap() {
            Opened::Exit { body, .. } => black_box(&buffer[body]),
            other => panic!("{other:?}"),
        };
    })
}

pub(crate) fn build() -> Operation {
    let format = SphinxPacketFormat::new();
    let (_, path) = nodes();
    let body = body();
    let mut rng = rng();
    let mut buffer = vec![0; format.packet_len()];
    Box::new(move || {
        format.build(&mut rng, &path, &[0; ADDRESS_LEN], black_box(&body), &mut buffer).unwrap();
        black_box(&buffer);
    })
}
