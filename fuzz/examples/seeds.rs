//! Writes the seeds: real records and messages, one file each, into `seeds/<target>/`. Run in `fuzz/`:
//! `cargo run --release --example seeds`.

use std::{fs, io, path::Path};

use enr::k256::ecdsa::SigningKey;
use multiaddr::Multiaddr;
use wakumix_fuzz::{DESCRIPTOR, KEY, MIX_RECORD, NOW, PEER_RECORD};
use wakumix_records::{
    descriptor::{self, Descriptor, Limits},
    node_record::RecordFields,
    peer_exchange,
    rendezvous::{self, MixRecord, Page, Query, Registration},
    service_discovery::{self, Contact, Message, MessageKind, Register, ServiceEntry},
};
use wakumix_sphinx::{PrivateKey, WireFormat};
use wakumix_waku::record::{Capabilities, Shards};

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
    Ok(())
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
        limits: Limits { packets_per_second: 100, longest_hold_ms: 1000 },
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
    Ok(())
}

fn peer_exchange_seeds(record: &str) -> Result<()> {
    let record = record.parse::<wakumix_records::node_record::NodeRecord>()?.encoded;
    write("peer_exchange", "request", peer_exchange::encode_request(30))?;
    write("peer_exchange", "response", peer_exchange::Response::success(vec![record]).encode())?;
    let refused = peer_exchange::Response::failure(peer_exchange::Status::Unavailable, "none");
    write("peer_exchange", "refused", refused.encode())?;
    Ok(())
}

fn service_discovery_seeds() -> Result<()> {
    let peer = KEY.public().to_peer_id();
    let data = PrivateKey::from_bytes([1; 32]).public().as_bytes().to_vec();
    let services = vec![ServiceEntry { id: "/mix/1.0.0".into(), data }];
    let record = service_discovery::PeerRecord { peer, seq: NOW, addresses: addresses()?, services };
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
