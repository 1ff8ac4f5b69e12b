//! Node records: bytes and text as they come, as bootstrap entries have them, and any value of each Waku field behind a
//! good signature.
#![no_main]

use std::sync::LazyLock;

use enr::{Enr, k256::ecdsa::SigningKey};
use libfuzzer_sys::fuzz_target;
use wakumix_records::node_record::{self, MAX_RECORD_LEN, MIX_KEY, NodeRecord, SHARD_BITS_KEY};
use wakumix_waku::record::{CAPABILITIES_KEY, Capabilities, MULTIADDRS_KEY, SHARDS_KEY, Shards, decode_multiaddrs};

static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::from_slice(&[7; 32]).expect("a fixed key is valid"));

fuzz_target!(|data: &[u8]| {
    check(node_record::decode(data));
    check(std::str::from_utf8(data).unwrap_or_default().parse());
    // Fields of lengths that the first bytes tell.
    let (lengths, mut rest) = data.split_at(data.len().min(5));
    let mut builder = Enr::builder();
    let (mut total, mut is_sound) = (0, true);
    for (key, length) in [CAPABILITIES_KEY, SHARDS_KEY, MULTIADDRS_KEY, MIX_KEY, SHARD_BITS_KEY].iter().zip(lengths) {
        let (value, left) = rest.split_at(rest.len().min(usize::from(*length)));
        builder.add_value(*key, &value);
        rest = left;
        total += value.len();
        is_sound &= is_field(key, value);
    }
    // What is too long is signed before it is refused, and to sign takes longer than all else. So of those with a field that
    // is none, one length in eight is signed.
    if total > MAX_RECORD_LEN || !is_sound && !total.is_multiple_of(8) {
        return;
    }
    let Ok(enr) = builder.build(&*KEY) else { return };
    let Ok(record) = NodeRecord::of(&enr) else { return };
    let (capabilities, shards) = node_record::offer(&enr);
    assert_eq!((&capabilities, &shards), (&record.fields.capabilities, &record.fields.shards));
    // To verify takes as long again.
    if record.skipped.is_empty() {
        check::<()>(Ok(record));
    }
});

/// Whether bytes are what the field should have.
fn is_field(key: &str, value: &[u8]) -> bool {
    match key {
        CAPABILITIES_KEY => Capabilities::decode(value).is_ok(),
        SHARDS_KEY => Shards::decode(value).is_ok(),
        MULTIADDRS_KEY => decode_multiaddrs(value).is_ok(),
        MIX_KEY => value.len() == 32,
        _ => true,
    }
}

fn check<E>(record: Result<NodeRecord, E>) {
    let Ok(record) = record else { return };
    assert!(record.encoded.len() <= MAX_RECORD_LEN);
    assert_eq!(record.to_text().parse::<NodeRecord>().expect("what was written can be read"), record);
}
