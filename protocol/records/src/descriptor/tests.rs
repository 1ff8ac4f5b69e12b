//! The rules of descriptors, one by one, and a vector with fixed keys.

use libp2p_identity::{ed25519, secp256k1};
use proptest::prelude::*;
use wakumix_sphinx::PrivateKey;

use super::*;

const NOW: u64 = 1_800_000_000;
const HOUR: u64 = 3600;

fn keypair(seed: u8) -> Keypair {
    let secret = secp256k1::SecretKey::try_from_bytes([seed; 32]).unwrap();
    secp256k1::Keypair::from(secret).into()
}

fn peer(seed: u8) -> PeerId {
    keypair(seed).public().to_peer_id()
}

fn mix_key(seed: u8) -> PublicKey {
    PrivateKey::from_bytes([seed; 32]).public()
}

fn descriptor() -> Descriptor {
    Descriptor {
        peer: peer(7),
        issued: NOW,
        expires: NOW + 12 * HOUR,
        addresses: vec![
            "/ip4/192.0.2.7/tcp/60000".parse().unwrap(),
            "/dns4/mix.example.org/tcp/443/wss".parse().unwrap(),
        ],
        shards: Shards { cluster: 2, shards: vec![0, 5] },
        capabilities: Capabilities::RELAY | Capabilities::MIX,
        mix_key: Some(mix_key(7)),
        next_key: Some((mix_key(8), NOW + 6 * HOUR)),
        profiles: vec![WireFormat::default()],
        operator: Some("example.org".into()),
        family: vec![peer(8), peer(9)],
        limits: DescriptorLimits { packets_per_second: 100, longest_hold_ms: 65_535, key_overlap_s: 0 },
        reassembles: true,
        is_full: false,
    }
}

fn fields() -> wire::Fields {
    (&descriptor()).into()
}

/// Signs fields that [`Descriptor::seal`] would refuse.
fn seal_raw(fields: &wire::Fields) -> Vec<u8> {
    PURPOSE.seal(&keypair(7), fields.encode_to_vec()).unwrap()
}

fn refusal_of(change: impl FnOnce(&mut wire::Fields)) -> String {
    let mut fields = fields();
    change(&mut fields);
    Descriptor::open(&seal_raw(&fields), NOW).unwrap_err().to_string()
}

/// A descriptor of the key [7; 32] at 1800000000, for other implementations to read.
const VECTOR: &str = concat!(
    "0a250802122102989c0b76cb563971fdc9bef31ec06c3560f3249d6ee9e5d83c57625596e05f6f12172f77616b756d69782f",
    "6d69782d64657363726970746f721a9e020a2700250802122102989c0b76cb563971fdc9bef31ec06c3560f3249d6ee9e5d8",
    "3c57625596e05f6f1080a4a7da0618c0f5a9da06220804c000020706ea602216360f6d69782e6578616d706c652e6f726706",
    "01bbde032802320200053821422013be4feaeaf204c7fd3358fc9c00721881d174278128227ec674f37f7fe97b6d4a2031d4",
    "ab6aceec961137917037936e60716fac573afe94d9da84a8020448dfc11250e0cca8da065a0b6c696f6e6573732f70616462",
    "0b6578616d706c652e6f72676a2700250802122103f991f944d1e1954a7fc8b9bf62e0d78f015f4c07762d505e20e6c45260",
    "a3661b6a270025080212210256b328b30c8bf5839e24058747879408bdb36241dc9c2e7c619faa12b2920967706478ffff03",
    "8001012a46304402206d8c3bebbbafdbab2a850a64af6718dda2448ecca191078900daca5d002b7f9b02201199da482b14a5",
    "0efdbbfa3f0b904fd73ae44032e68b075380ee7aa06a69f39b",
);

#[test]
fn what_is_read_without_the_signature_is_the_same_and_names_what_is_to_be_checked() {
    let bytes = descriptor().seal(&keypair(7)).unwrap();
    let (read, to_check) = Descriptor::open_unsigned(&bytes, NOW).unwrap();
    assert_eq!(read, Descriptor::open(&bytes, NOW).unwrap());
    assert_eq!(to_check.public_key, keypair(7).public().encode_protobuf());
    assert!(keypair(7).public().verify(&to_check.signed, &to_check.signature));
    let forged = PURPOSE.seal(&keypair(8), fields().encode_to_vec()).unwrap();
    assert!(matches!(Descriptor::open_unsigned(&forged, NOW), Err(DescriptorError::Signer)));
    assert!(matches!(Descriptor::open_unsigned(&bytes, NOW + 24 * HOUR), Err(DescriptorError::Expired)));
    let ed25519 = Keypair::from(ed25519::Keypair::from(ed25519::SecretKey::try_from_bytes([7; 32]).unwrap()));
    let sealed = PURPOSE.seal(&ed25519, fields().encode_to_vec()).unwrap();
    assert!(matches!(Descriptor::open_unsigned(&sealed, NOW), Err(DescriptorError::KeyType)));
}

#[test]
fn a_fixed_key_gives_the_bytes_of_the_vector() {
    let bytes = descriptor().seal(&keypair(7)).unwrap();
    assert_eq!(hex::encode(&bytes), VECTOR);
    assert_eq!(Descriptor::open(&bytes, NOW).unwrap(), descriptor());
}

#[test]
fn opens_what_it_sealed_with_or_without_the_fields_that_may_lack() {
    let least = Descriptor {
        addresses: Vec::new(),
        capabilities: Capabilities::RELAY,
        mix_key: None,
        next_key: None,
        profiles: Vec::new(),
        operator: None,
        family: Vec::new(),
        limits: DescriptorLimits::default(),
        reassembles: false,
        ..descriptor()
    };
    for descriptor in [least, descriptor()] {
        let bytes = descriptor.seal(&keypair(7)).unwrap();
        assert_eq!(Descriptor::open(&bytes, NOW).unwrap(), descriptor);
        let next_key_from = descriptor.next_key.map(|(_, from)| from);
        let times = Times { issued: descriptor.issued, expires: descriptor.expires, next_key_from };
        assert_eq!(Descriptor::times(&bytes), Some(times));
    }
}

#[test]
fn a_full_node_says_so_behind_all_that_others_say() {
    let full = Descriptor { is_full: true, ..descriptor() };
    let (bytes, payload) = (full.seal(&keypair(7)).unwrap(), wire::Fields::from(&full).encode_to_vec());
    assert_eq!(payload, [fields().encode_to_vec(), vec![0x88, 1, 1]].concat(), "field 17, a varint, true");
    assert_eq!(Descriptor::open(&bytes, NOW).unwrap(), full);
}

#[test]
fn how_long_a_replaced_key_opens_packets_comes_behind_all_that_others_say() {
    let limits = DescriptorLimits { key_overlap_s: 3600, ..descriptor().limits };
    let told = Descriptor { limits, ..descriptor() };
    let (bytes, payload) = (told.seal(&keypair(7)).unwrap(), wire::Fields::from(&told).encode_to_vec());
    assert_eq!(payload, [fields().encode_to_vec(), vec![0x90, 1, 0x90, 0x1c]].concat(), "field 18, a varint, 3600");
    assert_eq!(Descriptor::open(&bytes, NOW).unwrap(), told);
}

#[test]
fn the_largest_that_a_node_makes_fits() {
    let relayed = format!("/ip4/192.0.2.7/tcp/60000/p2p/{}/p2p-circuit", peer(9));
    let largest = Descriptor {
        addresses: vec![relayed.parse().unwrap(); MAX_ADDRESSES],
        shards: Shards { cluster: 65_535, shards: vec![1023; 8] },
        profiles: vec!["aes-ctr/seq/301".parse().unwrap(), WireFormat::default()],
        operator: Some("o".repeat(MAX_OPERATOR_LEN)),
        family: vec![peer(8); MAX_FAMILY],
        limits: DescriptorLimits { packets_per_second: u32::MAX, longest_hold_ms: u32::MAX, key_overlap_s: u32::MAX },
        ..descriptor()
    };
    let bytes = largest.seal(&keypair(7)).unwrap();
    assert!(Descriptor::open(&bytes, NOW).is_ok());
    assert!(bytes.len() > MAX_LEN - 150, "{} bytes: the bound has lost its reason", bytes.len());
}

#[test]
fn is_believed_for_its_time_only() {
    let bytes = descriptor().seal(&keypair(7)).unwrap();
    let at = |now| Descriptor::open(&bytes, now);
    assert!(at(NOW - MAX_SKEW).is_ok() && at(NOW + 12 * HOUR - 1).is_ok());
    assert!(matches!(at(NOW - MAX_SKEW - 1), Err(DescriptorError::Future)));
    assert!(matches!(at(NOW + 12 * HOUR), Err(DescriptorError::Expired)));
    assert!(matches!(at(0), Err(DescriptorError::Future)));
    assert!(matches!(at(u64::MAX), Err(DescriptorError::Expired)));
}

#[test]
fn lives_for_a_day_at_most() {
    let of = |issued, expires| Descriptor { issued, expires, ..descriptor() };
    assert!(of(NOW, NOW + MAX_LIFETIME).seal(&keypair(7)).is_ok());
    for (issued, expires) in [(NOW, NOW + MAX_LIFETIME + 1), (NOW, NOW), (NOW, NOW - 1), (0, u64::MAX)] {
        assert!(matches!(of(issued, expires).seal(&keypair(7)), Err(DescriptorError::Lifetime)));
        let bytes = seal_raw(&(&of(issued, expires)).into());
        assert!(matches!(Descriptor::open(&bytes, NOW), Err(DescriptorError::Lifetime)));
    }
}

#[test]
fn nobody_signs_for_another_peer() {
    assert!(matches!(descriptor().seal(&keypair(8)), Err(DescriptorError::Signer)));
    let foreign = PURPOSE.seal(&keypair(8), fields().encode_to_vec()).unwrap();
    assert!(matches!(Descriptor::open(&foreign, NOW), Err(DescriptorError::Signer)));
}

#[test]
#[cfg(feature = "weaknesses")]
fn only_a_missing_countermeasure_takes_what_another_peer_signed() {
    let forged = PURPOSE.seal(&keypair(8), fields().encode_to_vec()).unwrap();
    let weak = Weaknesses::NONE.with(Weakness::UnsignedEntries);
    assert_eq!(Descriptor::open_under(&forged, NOW, weak).unwrap(), descriptor());
    assert!(matches!(Descriptor::open_under(&forged, NOW, Weaknesses::NONE), Err(DescriptorError::Signer)));
    assert!(matches!(Descriptor::open_under(&forged, NOW + 12 * HOUR, weak), Err(DescriptorError::Expired)));
}

#[test]
fn takes_no_other_kind_of_key() {
    let secret = ed25519::SecretKey::try_from_bytes([7; 32]).unwrap();
    let key: Keypair = ed25519::Keypair::from(secret).into();
    let descriptor = Descriptor { peer: key.public().to_peer_id(), ..descriptor() };
    assert!(matches!(descriptor.seal(&key), Err(DescriptorError::KeyType)));
    let bytes = PURPOSE.seal(&key, wire::Fields::from(&descriptor).encode_to_vec()).unwrap();
    assert!(matches!(Descriptor::open(&bytes, NOW), Err(DescriptorError::KeyType)));
}

#[test]
fn a_changed_signature_or_length_is_refused() {
    let bytes = descriptor().seal(&keypair(7)).unwrap();
    for index in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[index] ^= 1;
        assert!(Descriptor::open(&changed, NOW).is_err(), "byte {index}");
        assert!(Descriptor::open(&bytes[..index], NOW).is_err(), "{index} bytes");
    }
    let long = [bytes, vec![0; MAX_LEN]].concat();
    assert!(matches!(Descriptor::open(&long, NOW), Err(DescriptorError::TooLong(_))));
}

#[test]
fn a_descriptor_that_grew_too_long_is_not_made() {
    let long = format!("/dns4/{}/tcp/443/wss", "n".repeat(250));
    let descriptor = Descriptor { addresses: vec![long.parse().unwrap(); 6], ..descriptor() };
    assert!(matches!(descriptor.seal(&keypair(7)), Err(DescriptorError::TooLong(_))));
}

#[test]
fn every_field_has_its_rule() {
    let many = |count| vec![Vec::new(); count];
    assert_eq!(refusal_of(|fields| fields.addresses = many(MAX_ADDRESSES + 1)), "too many addresses");
    assert_eq!(refusal_of(|fields| fields.shards = vec![1; MAX_LISTED_SHARDS + 1]), "too many shards");
    assert_eq!(refusal_of(|fields| fields.profiles = vec![String::new(); MAX_PROFILES + 1]), "too many profiles");
    assert_eq!(refusal_of(|fields| fields.family = many(MAX_FAMILY + 1)), "too many family");
    let impossible = |name: &str| format!("the field {name} has an impossible value");
    assert_eq!(refusal_of(|fields| fields.peer_id.clear()), impossible("peer_id"));
    assert_eq!(refusal_of(|fields| fields.cluster = 65_536), impossible("cluster"));
    assert_eq!(refusal_of(|fields| fields.shards = vec![65_536]), impossible("shards"));
    assert_eq!(refusal_of(|fields| fields.capabilities |= 256), impossible("capabilities"));
    assert_eq!(refusal_of(|fields| fields.mix_key = vec![9; 31]), impossible("mix_key"));
    assert_eq!(refusal_of(|fields| fields.next_key_from = 0), impossible("next_key_from"));
    assert_eq!(refusal_of(|fields| fields.next_key.clear()), impossible("next_key_from"));
    assert_eq!(refusal_of(|fields| fields.family = many(1)), impossible("family"));
    for operator in ["two words", "tab\t", "\u{1b}[31m", "ünïcode", &"o".repeat(MAX_OPERATOR_LEN + 1)] {
        assert_eq!(refusal_of(|fields| fields.operator = operator.into()), impossible("operator"));
    }
}

#[test]
fn keys_are_canonical_and_go_with_the_mix_bit() {
    let mut noncanonical = vec![0xff; 32];
    noncanonical[31] = 0x7f;
    let refusal = Descriptor::open(&seal_raw(&wire::Fields { mix_key: noncanonical.clone(), ..fields() }), NOW);
    assert!(matches!(refusal, Err(DescriptorError::Key(_))));
    let refusal = Descriptor::open(&seal_raw(&wire::Fields { next_key: noncanonical, ..fields() }), NOW);
    assert!(matches!(refusal, Err(DescriptorError::Key(_))));
    let contradiction = "the mix bit and the mix key contradict each other";
    assert_eq!(refusal_of(|fields| fields.capabilities = 1), contradiction);
    assert_eq!(refusal_of(|fields| fields.mix_key.clear()), contradiction);
    let keyless = |fields: &mut wire::Fields| (fields.capabilities, fields.mix_key) = (1, Vec::new());
    assert_eq!(refusal_of(keyless), "the field reassembles has an impossible value");
}

#[test]
fn skips_addresses_and_profiles_that_it_does_not_know() {
    let mut fields = fields();
    let about_a_peer: Multiaddr = format!("/ip4/192.0.2.9/tcp/1/p2p/{}", peer(9)).parse().unwrap();
    fields.addresses.splice(0..0, [vec![0xff; 4], Vec::new(), about_a_peer.to_vec()]);
    fields.profiles.push("lioness/of-the-future".into());
    assert_eq!(Descriptor::open(&seal_raw(&fields), NOW).unwrap(), descriptor());
}

#[test]
fn messages_read_back() {
    for request in [Request::Own, Request::Peers(vec![peer(1); MAX_DESCRIPTORS]), Request::Sample(MAX_DESCRIPTORS)] {
        let bytes = request.encode();
        assert!(bytes.len() <= MAX_REQUEST_LEN);
        assert_eq!(Request::decode(&bytes).unwrap(), request);
    }
    assert_eq!(Request::Own.encode(), []);
    let response = Response { descriptors: vec![vec![1; MAX_LEN]; MAX_DESCRIPTORS] };
    let bytes = response.clone().encode();
    assert!(bytes.len() <= MAX_RESPONSE_LEN);
    assert_eq!(Response::decode(&bytes).unwrap(), response);
}

#[test]
fn requests_for_too_much_are_refused() {
    let refused = |request: Request| Request::decode(&request.encode()).unwrap_err();
    assert!(matches!(refused(Request::Sample(MAX_DESCRIPTORS + 1)), DescriptorMessageError::TooMuch));
    assert!(matches!(refused(Request::Sample(usize::MAX)), DescriptorMessageError::TooMuch));
    assert!(matches!(refused(Request::Peers(vec![peer(1); MAX_DESCRIPTORS + 1])), DescriptorMessageError::TooMuch));
    assert!(matches!(refused(Request::Peers(vec![peer(1); 2 * MAX_DESCRIPTORS])), DescriptorMessageError::TooLong(_)));
    let both = [Request::Peers(vec![peer(1)]).encode(), Request::Sample(1).encode()].concat();
    assert!(matches!(Request::decode(&both), Err(DescriptorMessageError::TooMuch)));
    assert!(matches!(Request::decode(&[10, 1, 7]), Err(DescriptorMessageError::PeerId)));
    assert!(matches!(Response::decode(&vec![0; MAX_RESPONSE_LEN + 1]), Err(DescriptorMessageError::TooLong(_))));
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
        let _ = Descriptor::open(&bytes, NOW);
        let _ = Descriptor::times(&bytes);
        let _ = Request::decode(&bytes);
        let _ = Response::decode(&bytes);
        // Behind a good signature, too.
        let _ = Descriptor::open(&PURPOSE.seal(&keypair(7), bytes).unwrap(), NOW);
    }
}
