use proptest::prelude::*;

use super::*;

fn contact(seed: u8) -> Contact {
    let secret = libp2p_identity::secp256k1::SecretKey::try_from_bytes([seed; 32]).unwrap();
    let keypair = libp2p_identity::secp256k1::Keypair::from(secret);
    let peer = libp2p_identity::PublicKey::from(keypair.public().clone()).to_peer_id();
    Contact { peer, addresses: vec![format!("/ip4/192.0.2.{seed}/tcp/60000").parse().unwrap()] }
}

fn full() -> Message {
    let ticket = Ticket { advertisement: vec![1], first_asked: 2, issued: 3, wait: 4, signature: vec![5] };
    Message {
        record: Some(ValueRecord { key: vec![6], value: vec![7, 8] }),
        closer: vec![contact(1), contact(2)],
        register: Some(Register { advertisement: vec![9], status: Some(RegisterStatus::Wait), ticket: Some(ticket) }),
        advertisements: Some(vec![vec![10], vec![11, 12]]),
        ..Message::new(MessageKind::Register, vec![0x91; 32])
    }
}

#[test]
fn reads_what_it_writes() {
    assert_eq!(Message::decode(&full().encode()).unwrap(), Decoded { message: full(), skipped: 0 });
    for kind in (0..=17).filter_map(|number| MessageKind::try_from(number).ok()) {
        let message = Message::new(kind, Vec::new());
        assert_eq!(Message::decode(&message.encode()).unwrap().message, message);
    }
}

#[test]
fn fields_have_the_numbers_of_the_nwaku() {
    // Type 16; key; register with advertisement, status 0, and a ticket.
    let ticket = Ticket { advertisement: vec![0xad], first_asked: 1, issued: 2, wait: 3, signature: vec![0x51] };
    let register =
        Register { advertisement: vec![0xad], status: Some(RegisterStatus::Confirmed), ticket: Some(ticket) };
    let message = Message { register: Some(register), ..Message::new(MessageKind::Register, vec![0xaa]) };
    let expected =
        concat!("0810", "1201aa", "aa0113", "0a01ad", "1000", "1a0c", "0a01ad", "1001", "1802", "2003", "2a0151");
    assert_eq!(hex::encode(message.encode()), expected);
    // Type 17; field 22 with two advertisements.
    let ads = Message { advertisements: Some(vec![vec![1], vec![2]]), ..Message::new(MessageKind::GetAds, vec![0xaa]) };
    assert_eq!(hex::encode(ads.encode()), "08111201aab201060a01010a0102");
}

#[test]
fn a_type_of_zero_is_written() {
    let record = Some(ValueRecord { key: vec![1], value: vec![2] });
    let put = Message { record, ..Message::new(MessageKind::PutValue, vec![1]) };
    assert_eq!(hex::encode(put.encode()), "08001201011a060a0101120102");
}

#[test]
fn a_peer_that_cannot_be_read_does_not_spoil_the_others() {
    let fields = MessageFields {
        kind: Some(4),
        closer: vec![contact(1).encode(), vec![0xff; 9], Vec::new(), contact(2).encode()],
        ..MessageFields::default()
    };
    let Decoded { message, skipped } = Message::decode(&fields.encode_to_vec()).unwrap();
    assert_eq!(message.closer, [contact(1), contact(2)]);
    assert_eq!(skipped, 2);
}

#[test]
fn refuses_unknown_types_and_statuses() {
    for kind in [None, Some(6), Some(18), Some(-1)] {
        let fields = MessageFields { kind, ..MessageFields::default() };
        assert!(
            matches!(Message::decode(&fields.encode_to_vec()), Err(ServiceDiscoveryMessageError::Kind)),
            "{kind:?}"
        );
    }
    let register = RegisterFields { status: Some(3), ..RegisterFields::default() };
    let fields = MessageFields { kind: Some(16), register: Some(register), ..MessageFields::default() };
    assert!(matches!(Message::decode(&fields.encode_to_vec()), Err(ServiceDiscoveryMessageError::Status(3))));
}

#[test]
fn what_is_more_than_a_message_may_hold_is_left_out_and_counted() {
    let fields = MessageFields {
        kind: Some(17),
        closer: vec![contact(1).encode(); 25],
        get_ads: Some(GetAdsFields { advertisements: vec![vec![1]; 40] }),
        ..MessageFields::default()
    };
    let Decoded { message, skipped } = Message::decode(&fields.encode_to_vec()).unwrap();
    assert_eq!(message.closer.len(), MAX_CONTACTS);
    assert_eq!(message.advertisements.unwrap().len(), MAX_ADVERTISEMENTS);
    assert_eq!(skipped, 5 + 24);
    assert!(matches!(Message::decode(&[0; MAX_MESSAGE + 1]), Err(ServiceDiscoveryMessageError::TooLong(_))));
}

#[test]
fn an_answer_gives_up_peers_before_advertisements_to_fit() {
    let mut message = Message::new(MessageKind::GetAds, vec![0x91; 32]);
    message.closer = (1..=20).map(contact).collect();
    message.advertisements = Some(vec![vec![7; 350]; 10]);
    let bytes = message.clone().encode_fitting();
    assert!(bytes.len() <= MAX_MESSAGE, "{}", bytes.len());
    let fitted = Message::decode(&bytes).unwrap().message;
    assert_eq!(fitted.advertisements, message.advertisements);
    assert!(!fitted.closer.is_empty() && message.closer.starts_with(&fitted.closer));

    message.advertisements = Some(vec![vec![7; 1000]; 10]);
    let fitted = Message::decode(&message.encode_fitting()).unwrap().message;
    assert!(fitted.closer.is_empty());
    assert_eq!(fitted.advertisements.unwrap().len(), 4);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = Message::decode(&bytes);
        let _ = crate::service_discovery::ExtensiblePeerRecord::open(&bytes);
    }

    #[test]
    fn a_damaged_message_is_refused_or_read(index in 0usize..400, byte in any::<u8>()) {
        let mut bytes = full().encode();
        let index = index % bytes.len();
        bytes[index] = byte;
        let _ = Message::decode(&bytes);
    }
}
