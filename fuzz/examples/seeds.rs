//! Writes the seeds: real records and messages, one file each, into `seeds/<target>/`. Run in `fuzz/`:
//! `cargo run --release --example seeds`.

use std::{fs, io, path::Path};

use enr::k256::ecdsa::SigningKey;
use multiaddr::Multiaddr;
use wakumix_fuzz::{
    DESCRIPTOR, KEY, MIX_RECORD, NOW, PEER_RECORD,
    packets::{FORMATS, Sound, address, path, rng},
};
use wakumix_mix::{HopAddress, Request, encode_cover, encode_reply, fragment};
use wakumix_records::{
    descriptor::{self, Descriptor, DescriptorLimits},
    node_record::RecordFields,
    peer_exchange,
    rendezvous::{self, MixRecord, Page, Query, Refused, Registration, Status},
    service_discovery::{self, AdvertisedService, Contact, Message, MessageKind, Register},
};
use wakumix_sphinx::{PrivateKey, WireFormat};
use wakumix_waku::{
    WakuMessage, frame,
    lightpush::{StatusCode, V3_PROTOCOL, v2, v3},
    metadata::Metadata,
    record::{Capabilities, Shards},
};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn write(target: &str, name: &str, bytes: impl AsRef<[u8]>) -> io::Result<()> {
    let folder = Path::new("seeds").join(target);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(name), bytes)
}

fn addresses() -> Result<Vec<Multiaddr>> {
    let relay = KEY.public().to_peer_id();
    Ok(vec![
        "/ip4/192.0.2.7/tcp/60000".parse()?,
        "/dns4/mix.example.org/tcp/443/wss".parse()?,
        format!("/ip4/192.0.2.7/udp/60000/quic-v1/p2p/{relay}/p2p-circuit").parse()?,
    ])
}

fn main() -> Result<()> {
    let descriptor = descriptors()?;
    write("envelope", "descriptor", &descriptor)?;
    let record = node_records()?;
    rendezvous_seeds()?;
    peer_exchange_seeds(&record)?;
    service_discovery_seeds()?;
    texts(&record)?;
    packets()?;
    messages()?;
    configurations(&record)?;
    for (name, events) in wakumix_fuzz_model::seeds() {
        write("mixer", name, events)?;
    }
    key_directory()
}

fn descriptors() -> Result<Vec<u8>> {
    let peer = KEY.public().to_peer_id();
    let key = |seed| PrivateKey::from_bytes([seed; 32]).public();
    let descriptor = Descriptor {
        peer,
        issued: NOW,
        expires: NOW + 3600,
        addresses: addresses()?,
        shards: Shards { cluster: 2, shards: vec![0, 1] },
        capabilities: Capabilities::RELAY | Capabilities::MIX,
        mix_key: Some(key(1)),
        next_key: Some((key(2), NOW + 1800)),
        profiles: vec![WireFormat::default()],
        operator: Some("example.org".into()),
        family: vec![peer],
        limits: DescriptorLimits { packets_per_second: 100, longest_hold_ms: 1000, key_overlap_s: 3600 },
        reassembles: true,
        is_full: true,
    };
    let sealed = descriptor.seal(&KEY)?;
    write("descriptor", "sealed", &sealed)?;
    write("descriptor", "payload", DESCRIPTOR.open(&sealed)?.payload)?;
    write("descriptor_messages", "sample", descriptor::Request::Sample(32).encode())?;
    write("descriptor_messages", "peers", descriptor::Request::Peers(vec![peer]).encode())?;
    let response = descriptor::Response { descriptors: vec![sealed.clone()] };
    write("descriptor_messages", "response", response.encode())?;
    Ok(sealed)
}

/// The text of a record with every field.
fn node_records() -> Result<String> {
    let key = SigningKey::from_slice(&[7; 32])?;
    let fields = RecordFields {
        ip4: Some([192, 0, 2, 7].into()),
        tcp4: Some(60_000),
        udp4: Some(9000),
        capabilities: Some(Capabilities::RELAY | Capabilities::MIX),
        shards: Some(Shards { cluster: 2, shards: vec![0, 1] }),
        multiaddrs: vec!["/dns4/mix.example.org/tcp/443/wss".parse()?],
        mix_key: Some(PrivateKey::from_bytes([1; 32]).public()),
        ..RecordFields::default()
    };
    let record = wakumix_records::node_record::NodeRecord::of(&fields.sign(1, &key)?.record)?;
    write("node_record", "record", &record.encoded)?;
    write("node_record", "text", record.to_text())?;
    // Five lengths, then the fields: waku2, rs, multiaddrs, mix-key, rsv.
    let multiaddrs = wakumix_waku::record::encode_multiaddrs(&[addresses()?[1].to_vec()])?;
    let values = [vec![0x21], vec![0, 2, 1, 0, 0], multiaddrs, vec![9; 32], vec![0, 2, 1]];
    let lengths = values.iter().map(|value| u8::try_from(value.len())).collect::<std::result::Result<Vec<_>, _>>()?;
    write("node_record", "fields", [lengths, values.concat()].concat())?;
    // Shards as a bit vector: cluster 2, shards 0 and 2.
    let bits = [&[0, 2, 0b101][..], &[0; 127]].concat();
    write("node_record", "shard-bits", [&[1, 0, 0, 0, 130, 0x21][..], &bits].concat())?;
    Ok(record.to_text())
}

fn rendezvous_seeds() -> Result<()> {
    let peer = KEY.public().to_peer_id();
    let mix_key = Some(PrivateKey::from_bytes([1; 32]).public());
    let mix = MixRecord { peer, seq: NOW, addresses: addresses()?, mix_key }.seal(&KEY)?;
    let plain = rendezvous::PeerRecord { peer, seq: NOW, addresses: addresses()? }.seal(&KEY)?;
    write("rendezvous", "mix-record", &mix)?;
    write("rendezvous", "mix-payload", MIX_RECORD.open(&mix)?.payload)?;
    write("rendezvous", "peer-payload", PEER_RECORD.open(&plain)?.payload)?;
    write("envelope", "peer-record", plain)?;
    let namespace = rendezvous::mix_namespace(2);
    let registration = Registration { namespace: namespace.clone(), record: mix, ttl: Some(7200) };
    let query = Query { namespace: Some(namespace), limit: Some(12), cookie: Some(vec![1; 8]) };
    write("rendezvous", "register", rendezvous::Request::Register(registration.clone()).encode())?;
    write("rendezvous", "discover", rendezvous::Request::Discover(query).encode())?;
    let page = Page { registrations: vec![registration], ..Page::default() };
    write("rendezvous", "page", rendezvous::Response::Discover(Ok(page)).encode())?;
    write("rendezvous", "registered", rendezvous::Response::Register(Ok(7200)).encode())?;
    let refused = Refused::new(Status::Unavailable, "full");
    write("rendezvous", "refused", rendezvous::Response::Discover(Err(refused)).encode())?;
    Ok(())
}

fn peer_exchange_seeds(record: &str) -> Result<()> {
    let record = record.parse::<wakumix_records::node_record::NodeRecord>()?.encoded;
    write("peer_exchange", "request", peer_exchange::encode_request(30))?;
    write("peer_exchange", "response", peer_exchange::Response::success(vec![record]).encode())?;
    let refused = peer_exchange::Response::failure(peer_exchange::PeerExchangeStatus::Unavailable, "none");
    write("peer_exchange", "refused", refused.encode())?;
    Ok(())
}

fn service_discovery_seeds() -> Result<()> {
    let peer = KEY.public().to_peer_id();
    let data = PrivateKey::from_bytes([1; 32]).public().as_bytes().to_vec();
    let services = vec![AdvertisedService { id: "/mix/1.0.0".into(), data }];
    let record = service_discovery::ExtensiblePeerRecord { peer, seq: NOW, addresses: addresses()?, services };
    let advertisement = record.sign(&KEY)?;
    write("service_discovery", "advertisement", &advertisement)?;
    write("service_discovery", "payload", PEER_RECORD.open(&advertisement)?.payload)?;
    let key = service_discovery::service_key("/mix/1.0.0").to_vec();
    let contact = Contact { peer, addresses: addresses()? };
    for kind in [
        MessageKind::PutValue,
        MessageKind::GetValue,
        MessageKind::AddProvider,
        MessageKind::GetProviders,
        MessageKind::FindNode,
        MessageKind::Ping,
        MessageKind::Register,
        MessageKind::GetAds,
    ] {
        let message = Message {
            closer: vec![contact.clone()],
            register: Some(Register { advertisement: advertisement.clone(), ..Register::default() }),
            advertisements: Some(vec![advertisement.clone()]),
            ..Message::new(kind, key.clone())
        };
        write("service_discovery", &format!("message-{kind:?}").to_lowercase(), message.encode())?;
    }
    Ok(())
}

fn texts(record: &str) -> Result<()> {
    let peer = KEY.public().to_peer_id();
    let mix_key = PrivateKey::from_bytes([1; 32]).public();
    // The example of EIP-1459.
    let root = "enrtree-root:v1 e=JWXYDBPXYWG6FX3GMDIBFA6CJ4 l=C7HRFPF3BLGF3YR4DY5KX3SMBE seq=1 \
                sig=o908WmNp7LibOfPsr4btQwatZJ5URBr2ZAuxvK4UWHlsB9sUOTJQaGAlLPVAhM__XJesCHxLISo94z5Z2a463gA";
    let link = "enrtree://AM5FCQLWIZX2QFPNJAP7VUERCCRNGRHWZG3YYHIUV7BVDQ5FDPRT2@morenodes.example.org";
    let branch = "enrtree-branch:2XS2367YHAXJFGLZHVAWLQD4ZY,H4FHT4B454P6UXFD7JCYQ5PWDY,MHTDO6TMUBRIA2XWG5LUDACK24";
    for (name, text) in [("root", root), ("link", link), ("branch", branch), ("node", record)] {
        write("dns_tree", name, text)?;
    }
    write("entries", "link", link)?;
    write("entries", "record", record)?;
    write("entries", "peer", format!("/dns4/mix.example.org/tcp/443/wss/p2p/{peer}"))?;
    write("entries", "mix-node", format!("/ip4/192.0.2.7/tcp/60000/p2p/{peer}:{mix_key}"))?;
    write("entries", "named", format!("/dns4/mix.example.org/udp/60000/quic-v1/p2p/{peer}:{mix_key}"))?;
    Ok(())
}

fn packets() -> Result<()> {
    let mut choice = 0_u8;
    for (number, format) in (0_u8..).zip(&*FORMATS) {
        let name = format.wire().to_string().replace('/', "-");
        for (kind, sound) in ["forward", "request", "reply"].into_iter().zip(Sound::all(&**format)) {
            write("packet_mix", &format!("{name}-{kind}"), [vec![choice], sound.packet].concat())?;
            choice += 1;
        }
        // Format, seed, delay, kind, hop, changes; one change, in the payload; the body.
        for (name, kind) in [(format!("{name}-request"), 2), (format!("{name}-reply"), 1)] {
            write("packet_built", &name, [&[number, 1, 0, 50, kind, 1, 1, 4, 0, 1], &b"body"[..]].concat())?;
            write("packet_built", &format!("{name}-whole"), [&[number, 1, 0, 50, kind, 1, 0], &b"body"[..]].concat())?;
        }
        let surb = || format.create_surb(&mut rng(1), &path(50)).map(|(surb, _)| surb);
        write("surb", &name, [&[number], &surb()?.to_bytes()[..]].concat())?;
        write("surb", &format!("{name}-unchanged"), [number])?;
        let request = Request { codec: V3_PROTOCOL, surbs: vec![surb()?, surb()?], data: b"request" };
        write("mix_message", &name, request.encode()?)?;
    }
    write("mix_message", "reply", encode_reply(b"answer"))?;
    write("mix_message", "cover", encode_cover(&mut rng(1), &*FORMATS[0]))?;
    let direct = HopAddress::decode(&address(1))?;
    write("hop_address", "direct", direct.encode())?;
    write("hop_address", "text", direct.to_string())?;
    let peer = KEY.public().to_peer_id();
    let relayed = format!("/ip4/192.0.2.7/udp/60000/quic-v1/p2p/{peer}/p2p-circuit/p2p/{peer}").parse()?;
    write("hop_address", "relayed", HopAddress::parse_full(&relayed)?.encode())?;
    write("hop_address", "multiaddr", relayed.to_vec())?;
    fragments()
}

fn fragments() -> Result<()> {
    let shards = fragment::ShardCounts { data: 2, parity: 1 };
    for (index, fragment) in fragment::cut(&mut rng(1), V3_PROTOCOL, b"request", shards, 1000)?.iter().enumerate() {
        write("fragment", &format!("fragment-{index}"), fragment)?;
    }
    // Request, index (and a reply block), where it is changed (2), how, how much later: three whole sets, one of them twice.
    let step = |request: u8, index: u8| [request, index, 0, 0, 0, 1];
    let whole = [step(2, 0x80), step(4, 0), step(2, 1), step(4, 0x83), step(4, 2), step(1, 2), step(2, 0)];
    write("fragment", "whole-sets", whole.concat())?;
    let spoiled = [step(2, 0), [2, 1, 0, 40, 1, 0], [2, 0, 0, 16, 1, 0], step(5, 0), [5, 1, 0, 0, 0, 200]];
    write("fragment", "spoiled-sets", spoiled.concat())?;
    Ok(())
}

fn messages() -> Result<()> {
    let message = WakuMessage {
        payload: b"hello".to_vec(),
        content_topic: "/app/1/chat/proto".into(),
        timestamp: Some(1_800_000_000_000_000_000),
        meta: vec![1],
        ..WakuMessage::default()
    };
    let pubsub_topic = "/waku/2/rs/2/0".to_owned();
    let request_id = "01".repeat(10);
    let pushed = v3::Request {
        request_id: request_id.clone(),
        pubsub_topic: Some(pubsub_topic.clone()),
        message: message.clone(),
    };
    let answered = v3::Response {
        request_id: request_id.clone(),
        status_code: StatusCode::SUCCESS,
        status_desc: Some("published".into()),
        relay_peer_count: Some(3),
    };
    let request = v2::PushRequest { pubsub_topic: pubsub_topic.clone(), message: message.clone() };
    let response = v2::PushResponse { is_success: true, info: Some("published".into()) };
    write("waku_message", "message", message.encode())?;
    write("waku_message", "v3-request", pushed.encode())?;
    write("waku_message", "v3-response", answered.encode())?;
    let envelope = v2::PushRpc { request_id, ..v2::PushRpc::default() };
    write("waku_message", "v2-request", v2::PushRpc { request: Some(request), ..envelope.clone() }.encode())?;
    write("waku_message", "v2-response", v2::PushRpc { response: Some(response), ..envelope }.encode())?;
    write("waku_message", "pubsub-topic", pubsub_topic)?;
    write("waku_message", "content-topic", message.content_topic)?;
    write("metadata", "cluster", Metadata { cluster_id: Some(2), shards: vec![0, 1] }.encode())?;
    write("metadata", "empty", Metadata::default().encode())?;
    let prefixes = [&[100][..], &[0; 100], &[0x80, 0x24], &[0; 4608], &[0xdc, 0x2e], &[0; 5980]].concat();
    write("frame_prefix", "packets", prefixes)?;
    write("frame_prefix", "frames", [frame::encode(b"one"), frame::encode(&[2; 300]), frame::encode(&[])].concat())?;
    write("frame_prefix", "overlong", [0x80; 9])?;
    write("frame", "frames", [frame::encode(b"one"), frame::encode(&[2; 300]), frame::encode(&[])].concat())?;
    Ok(())
}

/// Files of the example network, and what fleets write.
fn configurations(record: &str) -> Result<()> {
    for name in ["mixer-1", "relay-exit-1", "sender"] {
        write("config", name, fs::read(Path::new("../examples/config").join(name).with_extension("toml"))?)?;
    }
    let peer = KEY.public().to_peer_id();
    let mix_key = PrivateKey::from_bytes([1; 32]).public();
    let lists = format!(
        "roles = \"relay,exit\"\nnat = \"extip:192.0.2.1\"\next-multiaddr = \"/dns4/mix.example.org/tcp/443/wss\"\n\
         staticnode = [\"/ip4/192.0.2.7/tcp/60000/p2p/{peer}\"]\nmixnode = [\"/ip4/192.0.2.7/tcp/60000/p2p/{peer}:{mix_key}\"]\n\
         entry-node = [\"{record}\"]\nfamily = [\"{peer}\"]\noperator = \"example.org\"\nports-shift = 1\nlog-level = \"info,a=debug\"\n\
         [exit]\nnetworks = [\"10.1.0.0/16\"]\nports = [443, \"1024-65535\"]\n[host]\ninject-loss = \"0.5%\"\n[mixer]\ncover = \"10s\"\n"
    );
    write("config", "lists", lists)?;
    write(
        "config",
        "fleet",
        "relay = true\nmix = \"True\"\nlightpush = true\nrole = [\"mixer\"]\npreset = \"mix-2026-07\"\nstore = false\n",
    )?;
    write(
        "config",
        "nearly",
        "rols = [\"mixer\"]\ntcp-port = 70000\n[mix]\ndelay = \"50 parsecs\"\n[pool]\nmax-age = [1]\n",
    )?;
    // Two characters in front make it YAML.
    write(
        "config",
        "yaml",
        "#-roles: [mixer, sender]\nmix:\n  delay: none\n  profile:\n    - sphinx-packet\ntcp-port: 0\n",
    )?;
    Ok(())
}

/// A key file, and the log of three tags of a key.
fn key_directory() -> Result<()> {
    let key = PrivateKey::from_bytes([1; 32]);
    let text = format!(
        "wakumix mix key 1\npublic {}\nnumber 17\nfrom 1764000000\nuntil 1764090000\nsecret {}\n",
        key.public(),
        "01".repeat(32)
    );
    write("key_file", "retired", format!("{text}retired\n"))?;
    write("key_file", "current", text)?;
    let mut log = [b"wkmxtags", &1_u32.to_be_bytes()[..], key.public().as_bytes()].concat();
    log.extend(crc32c(&log).to_be_bytes());
    for place in 0..3_u8 {
        let tag = [place; 16];
        let checked = [&key.public().as_bytes()[..], &u64::from(place).to_be_bytes(), &tag].concat();
        log.extend(tag);
        log.extend(crc32c(&checked).to_be_bytes());
    }
    write("tag_log", "torn", &log[..log.len() - 1])?;
    write("tag_log", "whole", log)?;
    Ok(())
}

/// The checksum of tag logs (Castagnoli), bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |sum: u32| if sum & 1 == 0 { sum >> 1 } else { sum >> 1 ^ 0x82f6_3b78 };
    !bytes.iter().fold(!0, |sum, byte| (0..8).fold(sum ^ u32::from(*byte), |sum, _| step(sum)))
}
