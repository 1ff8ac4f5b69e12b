//! Sections of single functions: key derivation, AES-CTR, MAC, X25519, blinding, LIONESS.

use serde_json::Value;
use wakumix_sphinx::{PublicKey, inspect};

use crate::json::{Fields, decode_hex, exactly};
use crate::report::{PeerReports, Problem, SectionReport};
use crate::rules::Rule;
use crate::section::{Checked, each};

/// The label from which a hop's seed is derived (§4.5).
pub(crate) const LIONESS_SEED_LABEL: &str = "payload_enc_key";

pub(crate) const BASE_POINT: [u8; 32] = {
    let mut base = [0; 32];
    base[0] = 9;
    base
};

/// `kdf`: SHA-256 of label and secret, truncated to 16 bytes (§4.2).
pub(crate) fn kdf(value: &Value) -> SectionReport {
    each("kdf", value, |found, fields| {
        let (label, secret) = (fields.text("label")?, fields.bytes("secret")?);
        let input = [label.as_bytes(), &secret].concat();
        found.recorded_bytes("input", fields.optional_bytes("input")?, &input);
        let key = inspect::kdf16(label, &secret);
        found.bytes("output", &fields.bytes("output")?, &key);
        Ok(())
    })
}

/// `aes128_ctr`: the key stream over data of any length (§4.3).
pub(crate) fn aes_ctr(value: &Value) -> SectionReport {
    each("aes128_ctr", value, |found, fields| {
        let (key, iv) = (fields.array("key")?, fields.array("iv")?);
        let (data, output) = (fields.bytes("data")?, fields.bytes("output")?);
        found.bytes("output", &output, &ctr(&key, &iv, 0, &data));
        found.bytes("data", &data, &ctr(&key, &iv, 0, &output));
        Ok(())
    })
}

/// `aes128_ctr_start_index`: the key stream from an offset, as the filler needs it (§4.3, §6.3).
pub(crate) fn aes_ctr_seek(value: &Value) -> SectionReport {
    each("aes128_ctr_start_index", value, |found, fields| {
        let (key, iv) = (fields.array("key")?, fields.array::<16>("iv")?);
        let data = fields.bytes("data")?;
        let start: u32 = fields.small::<u16>("start_index")?.into();
        let expected = fields.bytes("output")?;
        let plain = fields.optional_flag("equals_plain_ctr_at_offset")?;
        let ours = ctr(&key, &iv, start, &data);
        found.bytes("start_index", &ctr_from_zero(&key, &iv, start, &data), &ours);
        let (high, low) = split_counter(&iv);
        let carries = low.checked_add(u64::from(start / 16)).is_none();
        if let Some(plain) = plain {
            found.value("equals_plain_ctr_at_offset", plain, !carries);
        }
        if !carries {
            found.bytes("output", &expected, &ours);
            return Ok(());
        }
        // The reference adds the block number to the low half of the counter and drops the carry.
        let wrapped = join_counter(high, low.wrapping_add(u64::from(start / 16)));
        found.bytes("output", &expected, &ctr(&key, &wrapped, start % 16, &data));
        found.stricter(Rule::CounterSeek);
        Ok(())
    })
}

/// The same without seeking: through the key stream from its beginning.
fn ctr_from_zero(key: &[u8; 16], iv: &[u8; 16], start: u32, data: &[u8]) -> Vec<u8> {
    let start = usize::try_from(start).unwrap_or_default();
    let whole = [vec![0; start], data.to_vec()].concat();
    ctr(key, iv, 0, &whole).split_off(start)
}

fn split_counter(iv: &[u8; 16]) -> (u64, u64) {
    let counter = u128::from_be_bytes(*iv);
    let low = u64::try_from(counter & u128::from(u64::MAX)).unwrap_or_default();
    let high = u64::try_from(counter >> 64).unwrap_or_default();
    (high, low)
}

fn join_counter(high: u64, low: u64) -> [u8; 16] {
    ((u128::from(high) << 64) | u128::from(low)).to_be_bytes()
}

fn ctr(key: &[u8; 16], iv: &[u8; 16], start: u32, data: &[u8]) -> Vec<u8> {
    let mut data = data.to_vec();
    inspect::aes_ctr(key, iv, start, &mut data);
    data
}

/// `hmac_sha256_128`: the truncated MAC (§4.4).
pub(crate) fn mac(value: &Value) -> SectionReport {
    each("hmac_sha256_128", value, |found, fields| {
        let mac = inspect::mac(&fields.array("key")?, &fields.bytes("data")?);
        found.bytes("output", &fields.bytes("output")?, &mac);
        Ok(())
    })
}

/// `x25519`: one scalar, or several applied one after the other, to a point and to the base point (§4.1).
pub(crate) fn x25519(value: &Value) -> SectionReport {
    each("x25519", value, |found, fields| {
        let scalars = scalars(fields)?;
        let point = fields.array("point")?;
        let apply = |point| scalars.iter().fold(point, |point, scalar| inspect::x25519(scalar, &point));
        found.bytes("output", &fields.bytes("output")?, &apply(point));
        if let Some(base) = fields.optional_bytes("base_output")? {
            found.bytes("base_output", &base, &apply(BASE_POINT));
            chained(found, &scalars, &point, &base);
        }
        Ok(())
    })
}

/// The sender multiplies its scalars first and the point once; on honest points that gives the same.
fn chained(found: &mut PeerReports, scalars: &[[u8; 32]], point: &[u8; 32], base: &[u8]) {
    let Some(chain) = inspect::scalar_chain(scalars) else {
        return;
    };
    found.bytes("base_output", base, &inspect::x25519(&chain, &BASE_POINT));
    if PublicKey::from_bytes(*point).is_ok() {
        let sequential = scalars.iter().fold(*point, |point, scalar| inspect::x25519(scalar, &point));
        found.bytes("output", &sequential, &inspect::x25519(&chain, point));
    }
}

fn scalars(fields: Fields<'_>) -> Result<Vec<[u8; 32]>, Problem> {
    if !fields.has("scalars") {
        return Ok(vec![fields.array("scalar")?]);
    }
    let list = fields.list("scalars")?.iter().enumerate();
    list.map(|(index, value)| {
        let name = format!("scalars[{index}]");
        exactly(&name, &decode_hex(&name, value)?)
    })
    .collect()
}

/// `blinder`: SHA-256(α‖s), and the replay tag SHA-256(s) (§6.1, §15).
pub(crate) fn blinder(value: &Value) -> SectionReport {
    each("blinder", value, |found, fields| {
        let (alpha, secret) = (fields.array("alpha")?, fields.array("shared_secret")?);
        let (field, has_tag) =
            if fields.has("blinder_and_replay_tag") { ("blinder_and_replay_tag", false) } else { ("blinder", true) };
        let blinder = inspect::blinding(&alpha, &secret);
        found.bytes(field, &fields.bytes(field)?, &blinder);
        if has_tag {
            let tag = inspect::replay_tag(&secret);
            found.bytes("replay_tag", &fields.bytes("replay_tag")?, &tag);
        }
        Ok(())
    })
}

/// `lioness_kdf`: the seed of a hop or of a SURB, and its round keys (§4.5).
pub(crate) fn lioness_kdf(value: &Value) -> SectionReport {
    each("lioness_kdf", value, |found, fields| {
        let seed = match fields.text("use")? {
            "hop" => inspect::lioness_seed(&fields.array("secret")?).to_vec(),
            "surb" => fields.array::<16>("secret")?.to_vec(),
            other => {
                found.skip(format!("use {other:?} is not known"));
                return Ok(());
            }
        };
        found.bytes("seed", &fields.bytes("seed")?, &seed);
        found.recorded("seed_label", fields.optional_text("seed_label")?, LIONESS_SEED_LABEL);
        let keys = inspect::lioness_keys(&seed);
        for (field, key) in ["k1", "k2", "k3", "k4"].into_iter().zip(&keys) {
            found.bytes(field, &fields.bytes(field)?, key);
        }
        Ok(())
    })
}

/// `lioness`: whole blocks, both directions (§4.5).
pub(crate) fn lioness(value: &Value) -> SectionReport {
    each("lioness", value, |found, fields| {
        let seed = fields.bytes("seed")?;
        let (plain, cipher) = (fields.bytes("plaintext")?, fields.bytes("ciphertext")?);
        let (mut encrypted, mut decrypted) = (plain.clone(), cipher.clone());
        if inspect::lioness_encrypt(&seed, &mut encrypted).is_none() {
            found.fail("plaintext", "a seed and a block that are accepted", "refused");
            return Ok(());
        }
        found.bytes("ciphertext", &cipher, &encrypted);
        if inspect::lioness_decrypt(&seed, &mut decrypted).is_none() {
            found.fail("ciphertext", "a seed and a block that are accepted", "refused");
            return Ok(());
        }
        found.bytes("plaintext", &plain, &decrypted);
        Ok(())
    })
}

/// `lioness_stream`: S(k), XORed over data (§4.5).
pub(crate) fn lioness_stream(value: &Value) -> SectionReport {
    each("lioness_stream", value, |found, fields| {
        let mut data = fields.bytes("data")?;
        inspect::lioness_stream(&fields.array("key")?, &mut data);
        found.bytes("output", &fields.bytes("output")?, &data);
        Ok(())
    })
}

/// `lioness_hash`: H(k, m) (§4.5).
pub(crate) fn lioness_hash(value: &Value) -> SectionReport {
    each("lioness_hash", value, |found, fields| {
        let hash = inspect::lioness_hash(&fields.array("key")?, &fields.bytes("data")?);
        found.bytes("output", &fields.bytes("output")?, &hash);
        Ok(())
    })
}

/// `lioness_reject`: blocks and seeds that are too short; the size stands in the entry's name.
pub(crate) fn lioness_reject(value: &Value) -> SectionReport {
    each("lioness_reject", value, lioness_reject_entry)
}

fn lioness_reject_entry(found: &mut PeerReports, fields: Fields<'_>) -> Checked {
    let name = fields.text("name")?;
    let Some((what, size)) = read_size(name) else {
        found.skip(format!("case {name:?} is not known"));
        return Ok(());
    };
    let (seed, mut block) = match what {
        "block" => (vec![0; 32], vec![0; size]),
        _ => (vec![0; size], vec![0; 64]),
    };
    let accepted = inspect::lioness_encrypt(&seed, &mut block).is_some();
    found.value("ok", fields.flag("ok")?, accepted);
    Ok(())
}

/// Reads `block of 63 bytes` and `seed of 15 bytes`.
fn read_size(name: &str) -> Option<(&str, usize)> {
    /// Larger cases would only cost memory.
    const LARGEST: usize = 1 << 20;
    let (what, rest) = name.split_once(" of ")?;
    let size = rest.strip_suffix(" bytes")?.parse().ok()?;
    (matches!(what, "block" | "seed") && size <= LARGEST).then_some((what, size))
}
