//! Records that break a rule, whole or in one field.

use alloy_rlp::Bytes;
use proptest::prelude::*;
use wakumix_waku::record;

use super::*;

/// A signed record with these raw fields.
fn with(raw: &[(&str, &[u8])]) -> NodeRecord {
    let mut builder = Enr::builder();
    builder.ip4([192, 0, 2, 1].into()).tcp4(60_000);
    for (key, value) in raw {
        builder.add_value(key, &Bytes::copy_from_slice(value));
    }
    read(&builder.build(&key()).unwrap())
}

#[test]
fn a_bad_field_is_left_out_and_the_rest_counts() {
    let table: [(&str, &[u8]); 9] = [
        (record::CAPABILITIES_KEY, &[]),
        (record::CAPABILITIES_KEY, &[1, 2]),
        (record::SHARDS_KEY, &[0, 1, 2, 0, 0]),
        (SHARD_BITS_KEY, &[0, 1, 0xff]),
        (MIX_KEY, &[9; 31]),
        (MIX_KEY, &[0; 32]),
        (record::MULTIADDRS_KEY, &[0, 0]),
        (record::MULTIADDRS_KEY, &[0, 9, 4]),
        (record::MULTIADDRS_KEY, &[0]),
    ];
    for (key, value) in table {
        let record = with(&[(key, value)]);
        assert_eq!(record.skipped, [key], "{value:?}");
        assert_eq!(record.fields.addresses(), [address("/ip4/192.0.2.1/tcp/60000")]);
    }
}

#[test]
fn a_list_where_bytes_should_be_is_left_out() {
    let mut builder = Enr::builder();
    builder.add_value(record::CAPABILITIES_KEY, &vec![1_u8, 2]);
    let record = read(&builder.build(&key()).unwrap());
    assert_eq!((record.fields.capabilities, record.skipped), (None, vec![record::CAPABILITIES_KEY]));
}

#[test]
fn a_bad_address_is_left_out_alone_and_the_own_id_is_cut_off() {
    let me = with(&[]).peer;
    let other = "16Uiu2HAmPiEs2ozjjJF2iN2Pe2FYeMC9w4caRHKYdLdAfjgbWM6o";
    let good = ["/dns4/a.org/tcp/443/wss".to_owned(), format!("/ip4/192.0.2.9/tcp/1/p2p/{other}/p2p-circuit")];
    let own = "/ip4/192.0.2.2/tcp/2";
    let entries = [address(&good[0]).to_vec(), vec![0xff, 0xff, 0xff], address(&good[1]).to_vec()];
    let of = |entries: &[Vec<u8>]| with(&[(record::MULTIADDRS_KEY, &record::encode_multiaddrs(entries).unwrap())]);
    let record = of(&entries);
    assert_eq!(record.fields.multiaddrs, [address(&good[0]), address(&good[1])]);
    assert_eq!(record.skipped, [record::MULTIADDRS_KEY]);
    let ends = [address(&format!("{own}/p2p/{me}")).to_vec(), address(&format!("{own}/p2p/{other}")).to_vec()];
    assert_eq!(of(&ends).fields.multiaddrs, [address(own)]);
    assert_eq!(of(&[address(&format!("/p2p/{me}")).to_vec()]).fields.multiaddrs, []);
}

#[test]
fn the_shard_list_goes_before_the_bit_vector_whose_lowest_bit_is_first() {
    let mut bits = vec![0, 16];
    bits.extend_from_slice(&[0; 128]);
    bits[2] = 0b0000_0010;
    bits[2 + 127] = 0b1000_0000;
    let record = with(&[(SHARD_BITS_KEY, &bits)]);
    assert_eq!(record.fields.shards, Some(Shards { cluster: 16, shards: vec![1, 1023] }));
    let record = with(&[(SHARD_BITS_KEY, &bits), (record::SHARDS_KEY, &[0, 1, 1, 0, 5])]);
    assert_eq!(record.fields.shards, Some(Shards { cluster: 1, shards: vec![5] }));
}

#[test]
fn ports_and_addresses_of_zero_say_nothing() {
    let mut builder = Enr::builder();
    builder.ip4([0; 4].into()).tcp4(0).udp4(0);
    let record = read(&builder.build(&key()).unwrap());
    assert_eq!(record.fields, RecordFields::default());
}

#[test]
fn refuses_what_is_no_record_and_says_why() {
    let bytes = alloy_rlp::encode(signed(&fields()).record);
    let mut trailing = bytes.clone();
    trailing.push(0);
    assert_eq!(decode(&trailing), Err(NodeRecordError::Trailing(1)));
    assert_eq!(decode(&[0xf8; 301]), Err(NodeRecordError::TooLong));
    assert!(matches!(decode(&[]), Err(NodeRecordError::Malformed(_))));
    let refusal = |text: &str| text.parse::<NodeRecord>().unwrap_err().to_string();
    for (text, expected) in [
        ("enr:!!", "must stand URL-safe base64"),
        ("enr:-IS4", "does not parse"),
        ("", "does not parse"),
        ("http://example.org", "must stand URL-safe base64"),
        (&"A".repeat(401), "longer than 300 bytes"),
    ] {
        assert!(refusal(text).contains(expected), "{text}: {}", refusal(text));
    }
    let mut forged = bytes;
    if let Some(last) = forged.last_mut() {
        *last ^= 1;
    }
    assert_eq!(decode(&forged), Err(NodeRecordError::Signature));
}

proptest! {
    #[test]
    fn no_changed_byte_passes(index in 0_usize..200, change in 1_u8..) {
        let mut bytes = alloy_rlp::encode(signed(&fields()).record);
        let index = index % bytes.len();
        bytes[index] ^= change;
        prop_assert!(decode(&bytes).is_err());
    }

    #[test]
    fn any_value_of_any_field_is_read_or_left_out(value in prop::collection::vec(any::<u8>(), 0..90), which in 0_usize..5) {
        let key = [record::CAPABILITIES_KEY, record::SHARDS_KEY, record::MULTIADDRS_KEY, MIX_KEY, SHARD_BITS_KEY][which];
        let record = with(&[(key, &value)]);
        prop_assert!(record.skipped.len() <= 1);
        prop_assert!(record.fields.multiaddrs.len() <= value.len() / 2);
    }

    #[test]
    fn any_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..320)) {
        prop_assert!(decode(&bytes).is_err());
    }
}
