use rand::{RngExt, SeedableRng};
use wakumix_records::service_discovery::{ExtensiblePeerRecord, MAX_MESSAGE, Register, RegisterStatus};

use super::*;

const NOW: UnixSeconds = 1_750_000_000;

fn server() -> Server {
    let mut server = Server::new(Keypair::generate_secp256k1(), true, StdRng::seed_from_u64(1));
    server.set_serves(true);
    server
}

fn somebody() -> Requester {
    Requester::Peer(PeerId::random())
}

fn ask(server: &mut Server, from: Requester, message: &Message) -> Option<Message> {
    let answer = server.answer(from, None, &message.encode(), Instant::now(), NOW)?;
    assert!(answer.len() <= MAX_MESSAGE);
    Some(Message::decode(&answer).unwrap().message)
}

fn record(key: &Keypair, seq: u64) -> ValueRecord {
    let peer = key.public().to_peer_id();
    let value = ExtensiblePeerRecord { peer, seq, addresses: Vec::new(), services: Vec::new() }.sign(key).unwrap();
    ValueRecord { key: peer.to_bytes(), value }
}

fn put(record: &ValueRecord) -> Message {
    Message { record: Some(record.clone()), ..Message::new(MessageKind::PutValue, record.key.clone()) }
}

#[test]
fn a_record_that_is_put_comes_back_and_is_then_given() {
    let mut server = server();
    let record = record(&Keypair::generate_secp256k1(), 1);
    assert_eq!(ask(&mut server, somebody(), &put(&record)), Some(put(&record)));
    let get = Message::new(MessageKind::GetValue, record.key.clone());
    assert_eq!(ask(&mut server, somebody(), &get).unwrap().record, Some(record));
}

#[test]
fn what_is_not_kept_is_not_answered() {
    let mut server = server();
    let key = Keypair::generate_secp256k1();
    let foreign = ValueRecord { key: PeerId::random().to_bytes(), ..record(&key, 1) };
    assert_eq!(ask(&mut server, somebody(), &put(&foreign)), None);
    let without = Message::new(MessageKind::PutValue, foreign.key);
    assert_eq!(ask(&mut server, somebody(), &without), None);
    for kind in [MessageKind::AddProvider, MessageKind::GetProviders] {
        assert_eq!(ask(&mut server, somebody(), &Message::new(kind, vec![1])), None);
    }
    let long = Message::new(MessageKind::FindNode, vec![1; MAX_KEY + 1]);
    assert_eq!(ask(&mut server, somebody(), &long), None);
    let no_service = Message::new(MessageKind::GetAds, vec![1; 31]);
    assert_eq!(ask(&mut server, somebody(), &no_service), None);
}

#[test]
fn names_the_closest_peers_but_not_the_one_that_asks() {
    let mut server = server();
    let contact = |port: u16| Contact {
        peer: PeerId::random(),
        addresses: vec![format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap()],
    };
    let contacts: Vec<_> = (1..60).map(contact).collect();
    for contact in &contacts {
        server.table.answered(contact, Instant::now());
    }
    server.table.answered(&Contact { peer: PeerId::random(), addresses: Vec::new() }, Instant::now());
    let key = b"key".to_vec();
    let asking = server.table.closest(Position::of_key(&key), 1, |_| true)[0].peer;
    let answer = ask(&mut server, Requester::Peer(asking), &Message::new(MessageKind::FindNode, key)).unwrap();
    assert_eq!(answer.closer.len(), K);
    assert!(answer.closer.iter().all(|contact| contact.peer != asking && !contact.addresses.is_empty()));
}

#[test]
fn a_node_that_only_sends_answers_nobody() {
    let mut server = server();
    server.set_serves(false);
    assert_eq!(ask(&mut server, somebody(), &Message::new(MessageKind::Ping, Vec::new())), None);
    server.set_serves(true);
    assert!(ask(&mut server, somebody(), &Message::new(MessageKind::Ping, Vec::new())).is_some());
}

#[test]
fn nobody_behind_the_mixnet_registers() {
    let mut server = server();
    let register = Register { advertisement: record(&Keypair::generate_secp256k1(), 1).value, ..Register::default() };
    let request = Message { register: Some(register), ..Message::new(MessageKind::Register, vec![1; 32]) };
    assert_eq!(ask(&mut server, Requester::Anonymous, &request), None);
    let answer = ask(&mut server, somebody(), &request).unwrap().register.unwrap();
    assert_eq!(answer.status, Some(RegisterStatus::Rejected));
}

#[test]
fn a_flood_of_hostile_requests_is_bounded_and_the_next_peer_is_answered() {
    let mut server = server();
    let mut rng = StdRng::seed_from_u64(2);
    let flooder = somebody();
    let ping = Message::new(MessageKind::Ping, Vec::new());
    assert_eq!((0..10_000).filter(|_| ask(&mut server, flooder, &ping).is_some()).count(), 40);
    let mut bytes = put(&record(&Keypair::generate_secp256k1(), 1)).encode();
    let mut answers = 0;
    for round in 0..10_000u32 {
        let place = rng.random_range(0..bytes.len());
        bytes[place] = rng.random();
        let at = Instant::now() + ALL.token * round;
        answers += usize::from(server.answer(somebody(), None, &bytes, at, NOW).is_some());
    }
    assert!(answers < 10_000);
    assert_eq!(server.table.len(), 0, "nobody enters who was not asked");
    let later = Instant::now() + ALL.token * 20_000;
    assert!(server.answer(somebody(), None, &ping.encode(), later, NOW).is_some());
}
