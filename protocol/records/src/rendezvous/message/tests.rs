use proptest::prelude::*;

use super::*;

fn registration(record: &[u8], ttl: Option<u64>) -> Registration {
    Registration { namespace: "rs/2/mix".to_owned(), record: record.to_vec(), ttl }
}

/// Each request beside the bytes that the message table gives for it, written out by hand.
#[test]
fn requests_have_the_layout_of_libp2p() {
    let mut register = vec![0x08, 0, 0x12, 15, 0x0a, 8];
    register.extend(b"rs/2/mix");
    register.extend([0x12, 1, 7, 0x18, 60]);
    let mut unregister = vec![0x08, 2, 0x22, 10, 0x0a, 8];
    unregister.extend(b"rs/2/mix");
    let mut discover = vec![0x08, 3, 0x2a, 15, 0x0a, 8];
    discover.extend(b"rs/2/mix");
    discover.extend([0x10, 12, 0x1a, 1, 9]);
    let namespace = "rs/2/mix".to_owned();
    let query = Query { namespace: Some(namespace.clone()), limit: Some(12), cookie: Some(vec![9]) };
    let table = [
        (Request::Register(registration(&[7], Some(60))), register),
        (Request::Unregister { namespace }, unregister),
        (Request::Discover(query), discover),
    ];
    for (request, bytes) in table {
        assert_eq!(request.clone().encode(), bytes, "{request:?}");
        assert_eq!(Request::decode(&bytes), Ok(request));
    }
}

#[test]
fn responses_have_the_layout_of_libp2p() {
    let refused = Refused::new(Status::InvalidTtl, "no");
    let mut discovered = vec![0x08, 4, 0x32, 22, 0x0a, 15, 0x0a, 8];
    discovered.extend(b"rs/2/mix");
    discovered.extend([0x12, 1, 7, 0x18, 60, 0x12, 1, 9, 0x18, 0]);
    let page = Page { registrations: vec![registration(&[7], Some(60))], surplus: 0, cookie: Some(vec![9]) };
    let table = [
        (Response::Register(Ok(60)), vec![0x08, 1, 0x1a, 4, 0x08, 0, 0x18, 60]),
        (Response::Register(Err(refused.clone())), vec![0x08, 1, 0x1a, 6, 0x08, 102, 0x12, 2, b'n', b'o']),
        (Response::Discover(Ok(page)), discovered),
        (Response::Discover(Err(refused)), vec![0x08, 4, 0x32, 6, 0x18, 102, 0x22, 2, b'n', b'o']),
    ];
    for (response, bytes) in table {
        assert_eq!(response.clone().encode(), bytes, "{response:?}");
        assert_eq!(Response::decode(&bytes, 12), Ok(response));
    }
}

#[test]
fn messages_of_the_other_side_are_refused() {
    let answer = Response::Register(Ok(60)).encode();
    assert_eq!(Request::decode(&answer), Err(RendezvousMessageError::Type(REGISTER_RESPONSE)));
    let request = Request::Discover(Query::default()).encode();
    assert_eq!(Response::decode(&request, 12), Err(RendezvousMessageError::Type(DISCOVER)));
    // A type without its body, and no type at all, which reads as a registration.
    assert_eq!(Request::decode(&[0x08, 3]), Err(RendezvousMessageError::Type(DISCOVER)));
    assert_eq!(Request::decode(&[]), Err(RendezvousMessageError::Type(REGISTER)));
}

#[test]
fn a_response_is_read_up_to_the_limit_and_the_rest_is_counted() {
    let registrations = (0..20).map(|index| registration(&[index], Some(60))).collect();
    let bytes = Response::Discover(Ok(Page { registrations, ..Page::default() })).encode();
    let Ok(Response::Discover(Ok(page))) = Response::decode(&bytes, 12) else { panic!("not a page") };
    assert_eq!((page.registrations.len(), page.surplus), (12, 8));
    assert_eq!(page.registrations[11].record, [11]);
}

#[test]
fn a_registration_that_is_none_spoils_nothing_but_itself() {
    let good = RegisterFields::from(registration(&[7], None)).encode_to_vec();
    let body = DiscoverResponseFields { registrations: vec![vec![0xff], good], ..DiscoverResponseFields::default() };
    let fields = MessageFields { kind: DISCOVER_RESPONSE, discover_response: Some(body), ..MessageFields::default() };
    let Ok(Response::Discover(Ok(page))) = Response::decode(&fields.encode_to_vec(), 12) else { panic!("not a page") };
    let records: Vec<_> = page.registrations.into_iter().map(|registration| registration.record).collect();
    assert_eq!(records, [vec![], vec![7]]);
}

#[test]
fn a_registration_is_never_longer_than_told() {
    for (namespace, record, ttl) in [(1, 1, None), (8, 300, Some(60)), (255, 4000, Some(u64::MAX))] {
        let registration = Registration { namespace: "n".repeat(namespace), record: vec![0; record], ttl };
        let told = registration.encoded_len();
        assert!(RegisterFields::from(registration).encode_to_vec().len() <= told);
    }
}

#[test]
fn every_code_is_read_as_it_was_written() {
    for code in 1..500 {
        assert_eq!(Status::from_code(code).code(), code);
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Request::decode(&bytes);
        let _ = Response::decode(&bytes, 12);
    }

    #[test]
    fn no_change_of_a_message_makes_it_panic(index in 0usize..30, byte: u8) {
        let page = Page { registrations: vec![registration(&[7, 8], Some(60))], surplus: 0, cookie: Some(vec![9]) };
        let mut bytes = Response::Discover(Ok(page)).encode();
        let at = index % bytes.len();
        bytes[at] = byte;
        let _ = Response::decode(&bytes, 12);
    }
}
