//! Node records: bytes and text as they come, as bootstrap entries have them, and any value of each Waku field behind a
//! good signature.
#![no_main]

use std::sync::LazyLock;

use enr::{Enr, k256::ecdsa::SigningKey};
use libfuzzer_sys::fuzz_target;
use wakumix_records::node_record::{self, MAX_RECORD_LEN, MIX_KEY, NodeRecord, SHARD_BITS_KEY};
use wakumix_waku::record::{CAPABILITIES_KEY, MULTIADDRS_KEY, SHARDS_KEY};

static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::from_slice(&[7; 32]).expect("a fixed key is valid"));

fuzz_target!(|data: &[u8]| {
    check(node_record::decode(data));
    check(std::str::from_utf8(data).unwrap_or_default().parse());
    // Fields of lengths that the first bytes tell.
    let (lengths, mut rest) = data.split_at(data.len().min(5));
    let mut builder = Enr::builder();
    for (key, length) in [CAPABILITIES_KEY, SHARDS_KEY, MULTIADDRS_KEY, MIX_KEY, SHARD_BITS_KEY].iter().zip(lengths) {
        let (value, left) = rest.split_at(rest.len().min(usize::from(*length)));
        builder.add_value(*key, &value);
        rest = left;
    }
    if let Ok(enr) = builder.build(&*KEY) {
        check(NodeRecord::of(&enr));
    }
});

fn check<E>(record: Result<NodeRecord, E>) {
    let Ok(record) = record else { return };
    assert!(record.encoded.len() <= MAX_RECORD_LEN);
    assert_eq!(record.to_text().parse::<NodeRecord>().expect("what was written can be read"), record);
}
