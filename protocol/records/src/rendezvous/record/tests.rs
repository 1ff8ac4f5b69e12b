use libp2p_identity::secp256k1;
use proptest::prelude::*;
use wakumix_sphinx::PrivateKey;

use super::*;

/// Both made by `@libp2p/peer-record` 9.0.16 with `@libp2p/crypto` 5.1.23 for the secp256k1 key of 32 bytes 07, sequence
/// number 1760000000 and the two addresses of [`listed`]; in the first one domain and type are Waku's and the payload was
/// put together field by field, with the mix key of the first simulation node (`spec/waku.md §5.2`).
const MIX_VECTOR: &str = concat!(
    "0a250802122102989c0b76cb563971fdc9bef31ec06c3560f3249d6ee9e5d83c57625596e05f6f12033000001a95010a2700250802122102",
    "989c0b76cb563971fdc9bef31ec06c3560f3249d6ee9e5d83c57625596e05f6f1080f09dc7061a0804cb00710706ea611a16360f6d69782e",
    "6578616d706c652e6f72670601bbde032242307839643039636536323466373665386636303632363565646239636361326237646539623431",
    "3737326136643738346264646166393266666138666261376432632a473045022100b5e3ab6155956df4bf3802054559f2b0112fc1ab904c",
    "8dc5b360b646992afa90022002ef171bfbcecf42c55b0de6f19da82cd1761ae32f429c68f65583bb236c8885",
);
const PEER_VECTOR: &str = concat!(
    "0a250802122102989c0b76cb563971fdc9bef31ec06c3560f3249d6ee9e5d83c57625596e05f6f120203011a550a2700250802122102989c",
    "0b76cb563971fdc9bef31ec06c3560f3249d6ee9e5d83c57625596e05f6f1080f09dc7061a0a0a0804cb00710706ea611a180a16360f6d69",
    "782e6578616d706c652e6f72670601bbde032a4630440220420396142dc17d5d82ca9e49e0b76949ba0a4e17d36e11302316a4a712d0b2df",
    "022052739348c1d1dfd56e44819863fcd26b81e99b44c142af21ae3f10044b4db017",
);
const KEY: &str = "9d09ce624f76e8f606265edb9cca2b7de9b41772a6d784bddaf92ffa8fba7d2c";

fn key(seed: u8) -> Keypair {
    secp256k1::Keypair::from(secp256k1::SecretKey::try_from_bytes([seed; 32]).unwrap()).into()
}

fn listed() -> Vec<Multiaddr> {
    ["/ip4/203.0.113.7/tcp/60001", "/dns4/mix.example.org/tcp/443/wss"].map(|text| text.parse().unwrap()).to_vec()
}

fn record() -> MixRecord {
    let peer = key(7).public().to_peer_id();
    MixRecord { peer, seq: 1_760_000_000, addresses: listed(), mix_key: Some(KEY.parse().unwrap()) }
}

fn fields() -> MixRecordFields {
    MixRecordFields {
        peer_id: record().peer.to_bytes(),
        seq_no: 1,
        multiaddrs: listed().iter().map(Multiaddr::to_vec).collect(),
        mix_key: format!("0x{KEY}"),
    }
}

fn open(fields: &MixRecordFields) -> Result<MixRecord, RecordError> {
    MixRecord::open(&MIX.seal(&key(7), fields.encode_to_vec()).unwrap())
}

#[test]
fn records_are_those_of_an_independent_implementation() {
    let mix = hex::decode(MIX_VECTOR).unwrap();
    assert_eq!(MixRecord::open(&mix).unwrap(), record());
    assert_eq!(hex::encode(record().seal(&key(7)).unwrap()), MIX_VECTOR);
    let MixRecord { peer, seq, addresses, .. } = record();
    let plain = PeerRecord { peer, seq, addresses };
    assert_eq!(PeerRecord::open(&hex::decode(PEER_VECTOR).unwrap()).unwrap(), plain);
    assert_eq!(hex::encode(plain.seal(&key(7)).unwrap()), PEER_VECTOR);
}

#[test]
fn one_kind_of_record_is_not_taken_for_the_other() {
    let open = MixRecord::open(&hex::decode(PEER_VECTOR).unwrap());
    assert!(matches!(open, Err(RecordError::Envelope(EnvelopeError::PayloadType))));
    let open = PeerRecord::open(&hex::decode(MIX_VECTOR).unwrap());
    assert!(matches!(open, Err(RecordError::Envelope(EnvelopeError::PayloadType))));
}

#[test]
fn a_record_about_another_peer_is_refused() {
    let stranger = record().seal(&key(8)).unwrap();
    assert!(matches!(MixRecord::open(&stranger), Err(RecordError::Signer)));
    for peer_id in [vec![], vec![1, 2, 3], record().peer.to_string().into_bytes()] {
        assert!(matches!(open(&MixRecordFields { peer_id, ..fields() }), Err(RecordError::Signer)));
    }
}

#[test]
fn addresses_are_read_one_by_one_and_without_the_peer() {
    let peer = record().peer;
    let own: Multiaddr = format!("/ip4/203.0.113.7/tcp/1/p2p/{peer}").parse().unwrap();
    let twice = own.clone().with(Protocol::P2p(peer));
    let multiaddrs = vec![vec![0xff; 3], own.to_vec(), vec![], twice.to_vec()];
    let opened = open(&MixRecordFields { multiaddrs, ..fields() }).unwrap();
    let bare: Multiaddr = "/ip4/203.0.113.7/tcp/1".parse().unwrap();
    assert_eq!(opened.addresses, [bare.clone(), bare]);
    for multiaddrs in [vec![], vec![vec![0xff; 3]]] {
        assert!(matches!(open(&MixRecordFields { multiaddrs, ..fields() }), Err(RecordError::NoAddress)));
    }
}

#[test]
fn the_mix_key_may_be_empty_and_must_else_be_one() {
    let opened = |mix_key: &str| open(&MixRecordFields { mix_key: mix_key.to_owned(), ..fields() });
    for text in ["", "0x"] {
        assert_eq!(opened(text).unwrap().mix_key, None);
    }
    for text in [KEY.to_owned(), format!("0x{}", KEY.to_uppercase())] {
        assert_eq!(opened(&text).unwrap().mix_key, record().mix_key);
    }
    for text in ["0x00".to_owned(), KEY[1..].to_owned(), "0".repeat(64), "f".repeat(64), "ä".repeat(32)] {
        assert!(matches!(opened(&text), Err(RecordError::MixKey)), "{text}");
    }
    let own = PrivateKey::from_bytes([9; 32]).public();
    assert_eq!(opened(&format!("0x{own}")).unwrap().mix_key, Some(own));
}

#[test]
fn every_changed_byte_is_refused() {
    let bytes = hex::decode(MIX_VECTOR).unwrap();
    for index in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[index] ^= 1;
        assert!(MixRecord::open(&changed).is_err(), "byte {index}");
    }
}

proptest! {
    #[test]
    fn no_signed_bytes_make_it_panic(payload in prop::collection::vec(any::<u8>(), 0..120)) {
        let _ = MixRecord::open(&MIX.seal(&key(7), payload.clone()).unwrap());
        let _ = PeerRecord::open(&PEER.seal(&key(7), payload).unwrap());
    }
}
