//! Sections above the packet: addresses, mix messages, blocks, SURBs in a request.

use libp2p_identity::PeerId;
use multiaddr::Multiaddr;
use wakumix_mix::message::decode_surbs;
use wakumix_mix::{COVER_CODEC, HopAddress, MixMessage, Request, request_capacity};
use wakumix_sphinx::{ADDRESS_LEN, AddressBytes, MESSAGE_LEN, Profile, SURB_LEN, Sphinx, Surb, inspect};

use super::GenerateError;
use super::nodes::Made;
use super::packets::{MadeSurb, sequence_number};
use super::source::Source;
use super::tree::{Object, Tree};

pub(super) fn addresses(nodes: &[Made]) -> Result<Object, GenerateError> {
    let (node, relay) = (nodes[0].peer, nodes[1].peer);
    let tcp = "/ip4/10.0.0.1/tcp/1234";
    let accepted = [
        "/ip4/0.0.0.0/tcp/4242".to_owned(),
        "/ip4/255.255.255.255/tcp/65535".to_owned(),
        "/ip4/192.168.1.1/udp/8080/quic-v1".to_owned(),
        format!("{tcp}/p2p/{relay}/p2p-circuit"),
        format!("/ip4/10.0.0.1/udp/1234/quic-v1/p2p/{relay}/p2p-circuit"),
    ];
    let refused = [
        format!("{tcp}/p2p/{node}"),
        format!("{tcp}/ws"),
        "/ip4/10.0.0.1/udp/1234".to_owned(),
        "/ip4/0.0.0.0/tcp/4242/p2p-circuit".to_owned(),
        "/ip6/::1/tcp/4242".to_owned(),
        "/dns4/example.com/tcp/80".to_owned(),
        "/ip4/0.0.0.0".to_owned(),
        format!("{tcp}/p2p/{relay}/p2p-circuit/p2p/{node}"),
    ];
    // An ed25519 identity: its 38 bytes do not fit.
    let ed25519: PeerId = "12D3KooWGCYt6wZZ8pEYrJxvV5WkN5n4Fq9k6mNfRkGqf1wq8WGz"
        .parse()
        .map_err(|_| GenerateError::Value("the fixed ed25519 peer id".to_owned()))?;
    let texts = accepted.iter().chain(&refused).map(|text| (text.as_str(), node));
    let encode: Vec<_> = texts.chain([(tcp, ed25519)]).map(|(text, peer)| encode_entry(text, peer)).collect();
    let plain = HopAddress::from_multiaddr(&tcp.parse()?, node)?.encode();
    let relayed = HopAddress::from_multiaddr(&accepted[3].parse()?, node)?.encode();
    Ok(Object::new().with("encode", encode).with("decode", decode_entries(&plain, &relayed)))
}

fn encode_entry(text: &str, peer: PeerId) -> Object {
    let address = text.parse::<Multiaddr>().ok().and_then(|parsed| HopAddress::from_multiaddr(&parsed, peer).ok());
    let entry = Object::new()
        .with("multiaddr", text)
        .with("peer_id", peer.to_base58())
        .hex("peer_id_bytes", peer.to_bytes())
        .with("ok", address.is_some());
    match address {
        Some(address) => entry.hex("bytes", address.encode()),
        None => entry.with("error", "not an address that a header can carry"),
    }
}

fn decode_entries(plain: &AddressBytes, relayed: &AddressBytes) -> Vec<Object> {
    let changed = |at: usize, byte: u8| {
        let mut bytes = plain.to_vec();
        bytes[at] = byte;
        bytes
    };
    let mut longer = plain.to_vec();
    longer.push(0);
    [
        ("plain tcp", plain.to_vec()),
        ("relay", relayed.to_vec()),
        ("all zero", vec![0; ADDRESS_LEN]),
        ("too short", plain[1..].to_vec()),
        ("too long", longer),
        ("transport byte 1", changed(4, 1)),
        ("transport byte 2", changed(4, 2)),
        ("transport byte 255", changed(4, 255)),
        ("bad peer id multihash", changed(7, 0xff)),
        ("bad key protobuf inside identity hash", changed(9, 0x09)),
        ("second peer id not zero and garbage", changed(46, 1)),
        ("last byte set, behind both peer ids", changed(93, 7)),
    ]
    .into_iter()
    .map(|(name, bytes)| decode_entry(name, &bytes))
    .collect()
}

fn decode_entry(name: &str, bytes: &[u8]) -> Object {
    let entry = Object::new().with("name", name).hex("bytes", bytes);
    let Ok(bytes) = AddressBytes::try_from(bytes) else {
        return entry.with("ok", false).with("error", format!("an address has {ADDRESS_LEN} bytes"));
    };
    match HopAddress::decode(&bytes) {
        Ok(address) => entry
            .with("ok", true)
            .with("peer_id", address.peer().to_base58())
            .with("multiaddr", address.multiaddr().to_string()),
        Err(error) => entry.with("ok", false).with("error", error.to_string()),
    }
}

pub(super) fn mix_message(source: &Source, of: Profile) -> Result<Object, GenerateError> {
    let long = |length: usize| "abcdefghijklmnopqrstuvwxyz".chars().cycle().take(length).collect::<String>();
    let cases = [
        (String::new(), 0),
        (String::new(), 1),
        (String::new(), 5),
        ("a".to_owned(), 0),
        ("abcdefghijk".to_owned(), 40),
        (long(127), 10),
        (long(128), 10),
        (long(300), 7),
        ("/ipfs/ping/1.0.0".to_owned(), 32),
        ("/vac/waku/lightpush/3.0.0".to_owned(), 100),
        (COVER_CODEC.to_owned(), 20),
    ];
    let serialize: Result<Vec<_>, _> =
        cases.iter().map(|(codec, length)| serialize_entry(source, of, codec, *length)).collect();
    Ok(Object::new().with("serialize", serialize?).with("deserialize", deserialize_entries()))
}

fn serialize_entry(source: &Source, of: Profile, codec: &str, length: usize) -> Result<Object, GenerateError> {
    let content = source.bytes(&format!("message {codec} {length}"), length);
    let message = MixMessage { codec: codec.as_bytes(), rest: &content };
    let entry = Object::new()
        .with("codec", codec)
        .hex("message", &content)
        .hex("bytes", message.encode()?)
        .with("decoded_codec", codec)
        .hex("decoded_message", &content);
    let sizes =
        [0, 1, 4, 5].into_iter().filter_map(|surbs| Some((surbs, request_capacity(&Sphinx::new(of), codec, surbs)?)));
    Ok(sizes.fold(entry, |entry, (surbs, size)| entry.with(&format!("max_message_size_{surbs}_surbs"), size)))
}

fn deserialize_entries() -> Vec<Object> {
    let bodies = [
        "", "00", "01", "7f", "80", "0000", "0061", "0161", "0261", "01616263", "8000", "8001", "ff7f", "ffff",
        "808001", "810061",
    ];
    let entry = |text: &&str| {
        let bytes = hex::decode(text).unwrap_or_default();
        let entry = Object::new().with("bytes", *text);
        match MixMessage::decode(&bytes) {
            Ok(message) => entry.with("ok", true).hex("codec_hex", message.codec).hex("message", message.rest),
            Err(error) => entry.with("ok", false).with("error", error.to_string()),
        }
    };
    bodies.iter().map(entry).collect()
}

pub(super) fn fragmentation(source: &Source, of: Profile) -> Result<Object, GenerateError> {
    let room = of.data_len();
    let lengths = [0, 1, 13, 2000, room - 1, room, room + 1];
    let pad = lengths.map(|length| pad_entry(source, of, length));
    // We never derive sequence numbers, and cut no message into several blocks.
    let none = || Tree::List(Vec::new());
    Ok(Object::new()
        .with("pad", Vec::from(pad))
        .with("seqno", none())
        .with("pad_and_chunk", none())
        .with("decode_cases", decode_cases(source, of)))
}

fn pad_entry(source: &Source, of: Profile, length: usize) -> Object {
    let name = format!("pad {length}");
    let message = source.bytes(&name, length);
    let number = sequence_number(source, of, &name);
    let entry = Object::new().hex("message", &message).with("seq_no", number);
    match Sphinx::new(of).message_block(&message, number.unwrap_or_default().to_be_bytes()) {
        Ok(block) => entry
            .with("padding_length", u16::from_be_bytes([block[0], block[1]]))
            .hex("chunk", block)
            .with("unpadded_ok", true),
        Err(error) => entry.with("ok", false).with("error", error.to_string()),
    }
}

fn decode_cases(source: &Source, of: Profile) -> Vec<Object> {
    let room = of.data_len();
    let block = |padding: usize| {
        let mut block = vec![0; MESSAGE_LEN];
        let padding = u16::try_from(padding).unwrap_or(u16::MAX);
        block[..2].copy_from_slice(&padding.to_be_bytes());
        block
    };
    let mut dirty = block(room - 10);
    dirty[2..].copy_from_slice(&source.bytes("dirty padding", MESSAGE_LEN - 2));
    let mut last = block(room - 10);
    last[2 + room - 11] = 1;
    let cases = [
        ("too short", vec![0; MESSAGE_LEN - 1]),
        ("too long", vec![0; MESSAGE_LEN + 1]),
        ("padding length above data size", block(room + 1)),
        ("padding length ffff", block(usize::from(u16::MAX))),
        ("padding length equal data size", block(room)),
        ("padding length one less than data size", block(room - 1)),
        ("non zero padding bytes", dirty),
        ("last padding byte not zero", last),
    ];
    let entry = |(name, chunk): (&str, Vec<u8>)| {
        let body = chunk.as_slice().try_into().ok().and_then(|block| inspect::block_body(of, block));
        let entry = Object::new().with("name", name).hex("chunk", &chunk).with("ok", body.is_some());
        match body {
            Some(range) => entry.hex("unpadded", &chunk[range]),
            None => entry.with("error", "the block is refused"),
        }
    };
    cases.into_iter().map(entry).collect()
}

pub(super) fn surb_payload(source: &Source, surbs: &[MadeSurb]) -> Result<Object, GenerateError> {
    let serialize: Result<Vec<_>, GenerateError> = (0..=surbs.len())
        .map(|count| {
            let data = source.bytes(&format!("surb payload {count}"), 40);
            let payload = payload(&surbs[..count], &data)?;
            Ok(Object::new().with("num_surbs", count).hex("app_message", data).hex("payload", payload))
        })
        .collect();
    let one = payload(&surbs[..1], &[])?;
    let cases = [
        ("empty", Vec::new()),
        ("count 0 only", vec![0]),
        ("count 0 with text", b"\0hello".to_vec()),
        ("count 1 truncated", one[..200].to_vec()),
        ("count 6", [vec![6], vec![1; 6 * SURB_LEN]].concat()),
        ("count 255", vec![255]),
        ("count 1 all zero surb", [vec![1], vec![0; SURB_LEN]].concat()),
        ("count 1 exactly", one),
    ];
    let extract: Vec<_> = cases.iter().map(|(name, payload)| extract_entry(name, payload)).collect();
    Ok(Object::new().with("serialize", serialize?).with("extract_cases", extract).with("six_surbs_rejected", true))
}

/// SURB count, SURBs and data, as they follow the codec of a request.
fn payload(surbs: &[MadeSurb], data: &[u8]) -> Result<Vec<u8>, GenerateError> {
    let surbs: Result<Vec<_>, _> = surbs.iter().map(|made| Surb::from_bytes(&made.bytes)).collect();
    let body = Request { codec: "c", surbs: surbs?, data }.encode()?;
    Ok(MixMessage::decode(&body)?.rest.to_vec())
}

fn extract_entry(name: &str, payload: &[u8]) -> Object {
    let entry = Object::new().with("name", name).hex("payload", payload);
    match decode_surbs(&Sphinx::new(Profile::default()), payload) {
        Ok((surbs, data)) => entry.with("ok", true).with("num_surbs", surbs.len()).hex("message", data),
        Err(error) => entry.with("ok", false).with("error", error.to_string()),
    }
}
