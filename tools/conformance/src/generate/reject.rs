//! Section `reject`: damaged, replayed and forged packets, and what we do with them.

use wakumix_mix::ReplayTags;
use wakumix_sphinx::{PACKET_LEN, Profile, inspect};

use super::GenerateError;
use super::nodes::Made;
use super::packets::{MadeSurb, Plan, path, plain_block, record_hop, record_path};
use super::primitives::odd_points;
use super::source::Source;
use super::tree::{Object, Tree};
use crate::hops::Seen;
use crate::nodes::Node;
use crate::raw::RawHop;
use crate::reply::recover;

const BETA: usize = 32;
const GAMMA: usize = 608;
const DELTA: usize = 624;

/// One good packet and its copies at each hop.
struct Good {
    path: [Node; 3],
    /// The packet as it reaches each of the three hops.
    at_hop: [Vec<u8>; 3],
}

pub(super) fn section(
    source: &Source,
    of: Profile,
    nodes: &[Made],
    surbs: &[MadeSurb],
) -> Result<Vec<Object>, GenerateError> {
    let good = good(source, of, nodes)?;
    let mut entries = flips(of, &good);
    entries.extend(sizes(of, &good));
    entries.extend(misdirected(of, &good));
    entries.extend(alphas(of, &good));
    entries.extend(replays(of, &good));
    entries.push(delayed_exit(of, &good)?);
    entries.push(dirty_padding(source, of, nodes)?);
    for at in [0, 100] {
        entries.push(damaged_reply(of, nodes, &surbs[1], at)?);
    }
    entries.push(Object::new().with("name", "createSURB with zero id").with("ok", false));
    Ok(entries)
}

fn good(source: &Source, of: Profile, nodes: &[Made]) -> Result<Good, GenerateError> {
    let block = plain_block(source, of, "reject body", 300)?;
    let plan = Plan {
        name: "",
        path: [0, 1, 2],
        delays: [1, 2, 0],
        destination: [0; 94],
        ephemeral: source.array("reject ephemeral"),
        block,
    };
    let first = plan.build(of, nodes)?;
    let path = path(nodes, plan.path);
    let second = onward(of, &path[0], &first)?;
    let third = onward(of, &path[1], &second)?;
    Ok(Good { path, at_hop: [first, second, third] })
}

fn onward(of: Profile, node: &Node, packet: &[u8]) -> Result<Vec<u8>, GenerateError> {
    match record_hop(of, &node.private, packet, None).1.seen {
        Seen::Forward { packet, .. } => Ok(packet),
        other => Err(GenerateError::Value(format!("a packet to go on, not {}", other.text()))),
    }
}

fn flipped(packet: &[u8], at: usize, bit: u8) -> Vec<u8> {
    let mut packet = packet.to_vec();
    packet[at] ^= bit;
    packet
}

/// An entry of one packet and its hops.
fn entry(of: Profile, name: &str, path: &[Node], packet: &[u8]) -> Object {
    let (records, last) = record_path(of, path, packet);
    let entry = Object::new().with("name", name).hex("packet", packet).with("hops", records);
    match last.map(|arrival| arrival.seen) {
        Some(Seen::Refused(wakumix_sphinx::Reject::Mac)) => entry.with("final_status", "invalid_mac"),
        Some(Seen::Refused(reject)) => entry.with("final_status", "error").with("final_error", reject.to_string()),
        Some(seen) => entry.with("final_status", seen.text()),
        None => entry,
    }
}

fn flips(of: Profile, good: &Good) -> Vec<Object> {
    let places = [
        ("alpha bit flipped", 5),
        ("beta first bit flipped", BETA),
        ("beta last byte flipped", GAMMA - 1),
        ("gamma bit flipped", GAMMA),
        ("delta byte 0 flipped (inside zero prefix)", DELTA),
        ("delta byte 18 flipped (first padding byte)", DELTA + 18),
        ("delta last byte flipped", PACKET_LEN - 1),
    ];
    let flip = |(name, at)| entry(of, name, &good.path, &flipped(&good.at_hop[0], at, 1));
    places.map(flip).into()
}

fn sizes(of: Profile, good: &Good) -> Vec<Object> {
    let packet = &good.at_hop[0];
    let longer = [packet.as_slice(), &[0]].concat();
    let cases: [(&str, &[u8]); 4] = [
        ("too short by one", &packet[..PACKET_LEN - 1]),
        ("too long by one", &longer),
        ("empty", &[]),
        ("all zero packet", &[0; PACKET_LEN]),
    ];
    cases.map(|(name, packet)| entry(of, name, &good.path, packet)).into()
}

fn misdirected(of: Profile, good: &Good) -> [Object; 2] {
    [
        entry(of, "wrong node key", &good.path[2..], &good.at_hop[0]),
        entry(of, "hops swapped: second hop first", &good.path[1..], &good.at_hop[0]),
    ]
}

fn alphas(of: Profile, good: &Good) -> Vec<Object> {
    let packet = &good.at_hop[0];
    let mut honest = [0; 32];
    honest.copy_from_slice(&packet[..BETA]);
    let replace = |(name, alpha): (&str, [u8; 32])| {
        let packet = [&alpha, &packet[BETA..]].concat();
        entry(of, &format!("alpha {name}"), &good.path, &packet)
    };
    odd_points(&honest).map(replace).into()
}

fn replays(of: Profile, good: &Good) -> [Object; 4] {
    let [first, _, last] = &good.at_hop;
    let (entrance, exit) = (&good.path[0].private, &good.path[2].private);
    let bad = flipped(first, GAMMA, 1);
    let high_bit = flipped(last, BETA - 1, 0x80);
    let live = live_order(of, entrance, &bad, first);
    [
        sequence(
            of,
            "replay at exit with one tag store: first, same again, again with alpha high bit set",
            exit,
            &[last, last, &high_bit],
        ),
        sequence(of, "replay at first hop with one tag store", entrance, &[first, first]),
        sequence(of, "bad MAC first, then the good packet", entrance, &[&bad, first]),
        live,
    ]
}

fn sequence(of: Profile, name: &str, key: &[u8; 32], packets: &[&Vec<u8>]) -> Object {
    let mut tags = ReplayTags::new(packets.len());
    let step = |packet: &&Vec<u8>| {
        let (record, _) = record_hop(of, key, packet, Some(&mut tags));
        record.hex("packet_in", packet)
    };
    let steps: Vec<_> = packets.iter().map(step).collect();
    Object::new().with("name", name).with("sequence", steps)
}

fn live_order(of: Profile, key: &[u8; 32], bad: &[u8], good: &[u8]) -> Object {
    let mut tags = ReplayTags::new(2);
    let mut replay = |packet: &[u8]| matches!(record_hop(of, key, packet, Some(&mut tags)).1.seen, Seen::Duplicate);
    Object::new()
        .with("name", "live node order: bad MAC first, then the good packet")
        .hex("packet_bad", bad)
        .hex("packet_good", good)
        .with("first_is_replay", replay(bad))
        .with("first_status", "InvalidMAC")
        .with("second_is_replay", replay(good))
}

/// A last hop's block with a delay, which makes it neither exit nor reply (§10.1).
///
/// No sender of ours writes one, so it is made from a good packet: β is a stream cipher, and whoever knows the secrets
/// can mend the MACs from the last hop to the first.
fn delayed_exit(of: Profile, good: &Good) -> Result<Object, GenerateError> {
    const BLOCK: usize = 112;
    const DELAY: usize = 94;
    const NEXT_GAMMA: usize = 96;
    // What is XORed over β at the hop at hand; at an earlier hop it stands one block later.
    let mut change = vec![(DELAY + 1, 7)];
    let mut forged = Vec::new();
    for (node, packet) in good.path.iter().zip(&good.at_hop).rev() {
        forged = packet.clone();
        for (at, bits) in &change {
            forged[BETA + at] ^= bits;
        }
        let raw = RawHop::open(of, &node.private, packet)
            .ok_or_else(|| GenerateError::Value("a packet of the right size".to_owned()))?;
        let gamma = inspect::mac(&inspect::kdf16("mac_key", &raw.secret), &forged[BETA..GAMMA]);
        change = change.iter().map(|(at, bits)| (at + BLOCK, *bits)).collect();
        for (index, (old, new)) in packet[GAMMA..DELTA].iter().zip(gamma).enumerate() {
            change.push((NEXT_GAMMA + index, old ^ new));
        }
        forged[GAMMA..DELTA].copy_from_slice(&gamma);
    }
    Ok(entry(of, "exit hop delay not zero", &good.path, &forged))
}

fn dirty_padding(source: &Source, of: Profile, nodes: &[Made]) -> Result<Object, GenerateError> {
    let mut block = plain_block(source, of, "dirty", 100)?;
    block[1000] = 1;
    let ephemeral = source.array("dirty ephemeral");
    let plan = Plan { name: "", path: [3, 4, 5], delays: [0, 0, 0], destination: [0; 94], ephemeral, block };
    let packet = plan.build(of, nodes)?;
    Ok(entry(of, "padding not zero, made by the sender", &path(nodes, plan.path), &packet))
}

fn damaged_reply(of: Profile, nodes: &[Made], surb: &MadeSurb, at: usize) -> Result<Object, GenerateError> {
    let packet = flipped(&surb.packet, DELTA + at, 1);
    let (records, arrival) = record_path(of, &path(nodes, surb.path), &packet);
    let arrival = arrival.ok_or_else(|| GenerateError::Value("a reply did not arrive".to_owned()))?;
    let opened = recover(of, &surb.credentials, arrival)?;
    let error = opened.refusal().map(ToString::to_string);
    Ok(Object::new()
        .with("name", format!("reply: delta byte {at} flipped"))
        .hex("packet", packet)
        .hex("surb_key", surb.credentials.key)
        .hexes("secrets", &surb.credentials.secrets)
        .with("hops", records)
        .with("process_reply_ok", opened.body().is_some())
        .with("error", error.map_or(Tree::Null, Tree::Text)))
}
