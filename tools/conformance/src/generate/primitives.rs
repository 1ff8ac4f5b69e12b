//! Sections of single functions.

use wakumix_sphinx::{Cipher, Profile, inspect};

use super::source::Source;
use super::tree::Object;
use crate::primitives::{BASE_POINT, LIONESS_SEED_LABEL};

pub(super) fn kdf(source: &Source, of: Profile) -> Vec<Object> {
    let mut labels = vec!["aes_key", "iv", "mac_key"];
    if of.cipher == Cipher::AesCtr {
        labels.extend(["delta_aes_key", "delta_iv"]);
    }
    let secrets = ["kdf 0", "kdf 1"].map(|name| source.array::<32>(name));
    let pairs = secrets.iter().flat_map(|secret| labels.iter().map(move |label| (secret, *label)));
    pairs
        .map(|(secret, label)| {
            Object::new()
                .with("label", label)
                .hex("secret", secret)
                .hex("input", [label.as_bytes(), secret].concat())
                .hex("output", inspect::kdf16(label, secret))
        })
        .collect()
}

pub(super) fn aes_ctr(source: &Source) -> Vec<Object> {
    let entry = |length: usize| {
        let key = source.array(&format!("ctr key {length}"));
        // One counter block overflows, so that its carry is seen.
        let iv = if length == 576 { [0xff; 16] } else { source.array(&format!("ctr iv {length}")) };
        let data = source.bytes(&format!("ctr data {length}"), length);
        let mut output = data.clone();
        inspect::aes_ctr(&key, &iv, 0, &mut output);
        Object::new().hex("key", key).hex("iv", iv).hex("data", data).hex("output", output)
    };
    [0, 1, 15, 16, 17, 112, 576, 688, 3984].map(entry).into()
}

pub(super) fn aes_ctr_seek(source: &Source) -> Vec<Object> {
    let entry = |start: u32| {
        let key = source.array(&format!("seek key {start}"));
        let mut iv: [u8; 16] = source.array(&format!("seek iv {start}"));
        // Far from a carry out of the low half, where implementations are known to differ.
        iv[8] &= 0x7f;
        let data = source.bytes(&format!("seek data {start}"), 224);
        let mut output = data.clone();
        inspect::aes_ctr(&key, &iv, start, &mut output);
        Object::new()
            .hex("key", key)
            .hex("iv", iv)
            .hex("data", data)
            .with("start_index", start)
            .hex("output", output)
            .with("equals_plain_ctr_at_offset", true)
    };
    [0, 16, 352, 464, 576].map(entry).into()
}

pub(super) fn mac(source: &Source) -> Vec<Object> {
    let entry = |length: usize| {
        let key = source.array(&format!("mac key {length}"));
        let data = source.bytes(&format!("mac data {length}"), length);
        let output = inspect::mac(&key, &data);
        Object::new().hex("key", key).hex("data", data).hex("output", output)
    };
    [0, 1, 63, 64, 65, 576].map(entry).into()
}

pub(super) fn x25519(source: &Source) -> Vec<Object> {
    let scalars: [[u8; 32]; 3] = [0, 1, 2].map(|index| source.array(&format!("scalar {index}")));
    let point = inspect::x25519(&source.array("point"), &BASE_POINT);
    let chain = |start| scalars.iter().fold(start, |point, scalar| inspect::x25519(scalar, &point));
    let honest = scalars.map(|scalar| {
        Object::new()
            .hex("scalar", scalar)
            .hex("point", point)
            .hex("output", inspect::x25519(&scalar, &point))
            .hex("base_output", inspect::x25519(&scalar, &BASE_POINT))
    });
    let chained = Object::new()
        .hexes("scalars", &scalars)
        .hex("point", point)
        .hex("output", chain(point))
        .hex("base_output", chain(BASE_POINT));
    let odd = odd_points(&point).map(|(name, point)| {
        Object::new()
            .with("name", name)
            .hex("scalar", scalars[0])
            .hex("point", point)
            .hex("output", inspect::x25519(&scalars[0], &point))
    });
    honest.into_iter().chain([chained]).chain(odd).collect()
}

/// Points that are not canonical or of low order: what a receiver has to expect (§4.1).
pub(super) fn odd_points(honest: &[u8; 32]) -> [(&'static str, [u8; 32]); 7] {
    let near_p = |low: u8| {
        let mut point = [0xff; 32];
        point[0] = low;
        point[31] = 0x7f;
        point
    };
    let mut one = [0; 32];
    one[0] = 1;
    let mut high_bit = *honest;
    high_bit[31] |= 0x80;
    [
        ("high bit set", high_bit),
        ("zero", [0; 32]),
        ("one (order 4)", one),
        ("p - 1", near_p(0xec)),
        ("p (non-canonical zero)", near_p(0xed)),
        ("p + 9 (non-canonical base point)", near_p(0xf6)),
        ("all ff", [0xff; 32]),
    ]
}

pub(super) fn blinder(source: &Source) -> Vec<Object> {
    let entry = |index: usize| {
        let (alpha, secret) =
            (source.array(&format!("blinder alpha {index}")), source.array(&format!("blinder secret {index}")));
        Object::new()
            .hex("alpha", alpha)
            .hex("shared_secret", secret)
            .hex("blinder", inspect::blinding(&alpha, &secret))
            .hex("replay_tag", inspect::replay_tag(&secret))
    };
    [0, 1, 2].map(entry).into()
}

pub(super) fn lioness_kdf(source: &Source) -> Vec<Object> {
    let hop = |index: usize| {
        let secret = source.array(&format!("lioness secret {index}"));
        let seed = inspect::lioness_seed(&secret);
        round_keys(Object::new().with("use", "hop").with("seed_label", LIONESS_SEED_LABEL).hex("secret", secret), &seed)
    };
    let surb = |index: usize| {
        let key: [u8; 16] = source.array(&format!("lioness surb key {index}"));
        round_keys(Object::new().with("use", "surb").hex("secret", key), &key)
    };
    [hop(0), hop(1), surb(0), surb(1)].into()
}

fn round_keys(entry: Object, seed: &[u8]) -> Object {
    let keys = inspect::lioness_keys(seed);
    let names = ["k1", "k2", "k3", "k4"];
    names.iter().zip(&keys).fold(entry.hex("seed", seed), |entry, (name, key)| entry.hex(name, key))
}

pub(super) fn lioness(source: &Source) -> Vec<Object> {
    let entry = |(seed, length): (usize, usize)| {
        let name = format!("lioness {seed} {length}");
        let seed = source.bytes(&format!("{name} seed"), seed);
        let plain = source.bytes(&name, length);
        let mut cipher = plain.clone();
        // The sizes below are all accepted.
        let _ = inspect::lioness_encrypt(&seed, &mut cipher);
        Object::new().hex("seed", seed).hex("plaintext", plain).hex("ciphertext", cipher)
    };
    [(32, 64), (32, 65), (16, 100), (17, 95), (33, 96), (32, 3984), (16, 3984)].map(entry).into()
}

pub(super) fn lioness_stream(source: &Source) -> Vec<Object> {
    let entry = |length: usize| {
        let key = source.array(&format!("stream key {length}"));
        let data = source.bytes(&format!("stream {length}"), length);
        let mut output = data.clone();
        inspect::lioness_stream(&key, &mut output);
        Object::new().hex("key", key).hex("data", data).hex("output", output)
    };
    [0, 1, 16, 48, 3952].map(entry).into()
}

pub(super) fn lioness_hash(source: &Source) -> Vec<Object> {
    let entry = |length: usize| {
        let key = source.array(&format!("hash key {length}"));
        let data = source.bytes(&format!("hash {length}"), length);
        let output = inspect::lioness_hash(&key, &data);
        Object::new().hex("key", key).hex("data", data).hex("output", output)
    };
    [0, 3, 32, 3952].map(entry).into()
}

pub(super) fn lioness_reject() -> Vec<Object> {
    let entry = |(what, size, error): (&str, usize, &str)| {
        Object::new().with("name", format!("{what} of {size} bytes")).with("ok", false).with("error", error)
    };
    let (block, seed) = ("a block has at least 64 bytes", "a seed has at least 16 bytes");
    [("block", 0, block), ("block", 32, block), ("block", 63, block), ("seed", 0, seed), ("seed", 15, seed)]
        .map(entry)
        .into()
}
