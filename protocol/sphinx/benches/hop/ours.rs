//! The operations of this crate. Buffers are reused, as a node reuses those of its pool.

use std::hint::black_box;

use wakumix_sphinx::{ADDRESS_LEN, Opened, PACKET_LEN, PathHop, PrivateKey, Sphinx, Surb};

use crate::{Operation, body, rng};

type Packet = [u8; PACKET_LEN];

fn nodes() -> ([PrivateKey; 3], [PathHop; 3]) {
    let mut rng = rng();
    let keys = [(); 3].map(|()| PrivateKey::generate(&mut rng));
    let path = keys.clone().map(|key| PathHop { key: key.public(), address: [7; ADDRESS_LEN], delay_ms: 50 });
    (keys, path)
}

fn sphinx(profile: &str) -> Sphinx {
    Sphinx::new(profile.parse().unwrap())
}

fn packet(sphinx: Sphinx, path: &[PathHop; 3]) -> Packet {
    let mut packet = [0; PACKET_LEN];
    sphinx.build(&mut rng(), path, &[0; ADDRESS_LEN], &body(), &mut packet).unwrap();
    packet
}

fn forward(sphinx: Sphinx, key: &PrivateKey, packet: &mut Packet) {
    let auth = sphinx.authenticate(key, packet).unwrap();
    match sphinx.open(packet, auth).unwrap() {
        Opened::Forward { blinding, .. } => sphinx.blind(packet, blinding).unwrap(),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn hop(profile: &str) -> Operation {
    let (keys, path) = nodes();
    let sphinx = sphinx(profile);
    let received = packet(sphinx, &path);
    let mut buffer = received;
    Box::new(move || {
        buffer.copy_from_slice(black_box(&received));
        forward(sphinx, &keys[0], &mut buffer);
        black_box(&buffer);
    })
}

pub(crate) fn exit(profile: &str) -> Operation {
    let (keys, path) = nodes();
    let sphinx = sphinx(profile);
    let mut received = packet(sphinx, &path);
    forward(sphinx, &keys[0], &mut received);
    forward(sphinx, &keys[1], &mut received);
    let mut buffer = received;
    Box::new(move || {
        buffer.copy_from_slice(black_box(&received));
        let auth = sphinx.authenticate(&keys[2], &buffer).unwrap();
        match sphinx.open(&mut buffer, auth).unwrap() {
            Opened::Exit { body, .. } => black_box(&buffer[body]),
            other => panic!("{other:?}"),
        };
    })
}

pub(crate) fn build(profile: &str) -> Operation {
    let (_, path) = nodes();
    let sphinx = sphinx(profile);
    let body = body();
    let mut rng = rng();
    let mut buffer = [0; PACKET_LEN];
    Box::new(move || {
        sphinx.build(&mut rng, &path, &[0; ADDRESS_LEN], black_box(&body), &mut buffer).unwrap();
        black_box(&buffer);
    })
}

pub(crate) fn surb_create() -> Operation {
    let (_, path) = nodes();
    let sphinx = sphinx("lioness/pad");
    let mut rng = rng();
    Box::new(move || {
        let (surb, keys) = sphinx.create_surb(&mut rng, &path).unwrap();
        black_box((surb.to_bytes(), keys));
    })
}

pub(crate) fn surb_use() -> Operation {
    let (_, path) = nodes();
    let sphinx = sphinx("lioness/pad");
    let mut rng = rng();
    let body = body();
    let (surb, _) = sphinx.create_surb(&mut rng, &path).unwrap();
    let bytes = surb.to_bytes();
    let mut buffer = [0; PACKET_LEN];
    Box::new(move || {
        let surb = Surb::from_bytes(black_box(&bytes)).unwrap();
        sphinx.use_surb(&mut rng, surb, black_box(&body), &mut buffer).unwrap();
        black_box(&buffer);
    })
}

pub(crate) fn reply_open() -> Operation {
    let (keys, path) = nodes();
    let sphinx = sphinx("lioness/pad");
    let mut rng = rng();
    let (surb, reply_keys) = sphinx.create_surb(&mut rng, &path).unwrap();
    let mut received = [0; PACKET_LEN];
    sphinx.use_surb(&mut rng, surb, &body(), &mut received).unwrap();
    forward(sphinx, &keys[0], &mut received);
    forward(sphinx, &keys[1], &mut received);
    let mut buffer = received;
    Box::new(move || {
        buffer.copy_from_slice(black_box(&received));
        let auth = sphinx.authenticate(&keys[2], &buffer).unwrap();
        match sphinx.open(&mut buffer, auth).unwrap() {
            Opened::Reply { .. } => {}
            other => panic!("{other:?}"),
        }
        black_box(sphinx.open_reply(&reply_keys, &mut buffer).unwrap());
    })
}
