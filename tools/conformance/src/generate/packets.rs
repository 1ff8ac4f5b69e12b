//! Sections of whole packets: `sphinx_packets` and `surbs`, and hops as every section records them.

use wakumix_mix::{COVER_CODEC, MixMessage, ReplayTags, Request, encode_reply};
use wakumix_sphinx::{AddressBytes, Block, MESSAGE_LEN, PACKET_LEN, Profile, Sphinx, Surb, SurbId, inspect};

use super::GenerateError;
use super::nodes::Made;
use super::source::Source;
use super::tree::{Object, Tree};
use crate::hops::{Arrival, Seen, process};
use crate::nodes::{Node, hops};
use crate::raw::RawHop;
use crate::reply::{Credentials, recover};

/// The sequence number that vectors of `name` use; `None` for blocks without one.
pub(super) fn sequence_number(source: &Source, of: Profile, name: &str) -> Option<u32> {
    let number = u32::from_be_bytes(source.array(&format!("{name} sequence")));
    (of.block == Block::Seq).then_some(number)
}

/// The nodes of a path by index.
pub(super) fn path(nodes: &[Made], indices: [usize; 3]) -> [Node; 3] {
    indices.map(|index| nodes[index].node)
}

/// One packet at one node: the record, and what the node saw.
pub(super) fn record_hop(
    of: Profile,
    key: &[u8; 32],
    packet: &[u8],
    tags: Option<&mut ReplayTags>,
) -> (Object, Arrival) {
    let raw = RawHop::open(of, key, packet);
    let seen = process(of, key, packet, tags);
    let mut record = Object::new().hex("node_private_key", key);
    if let Some(raw) = &raw {
        record = record.hex("shared_secret", raw.secret).hex("replay_tag", raw.tag).hex("blinder", raw.blinder);
    }
    record = match &seen {
        Seen::Forward { next, delay_ms, packet } => record
            .with("status", "intermediate")
            .hex("next_hop_address_bytes", next)
            .with("delay_ms", *delay_ms)
            .hex("packet_out", packet),
        Seen::Exit { destination, block, .. } => record
            .with("status", "exit")
            .hex("destination_address_bytes", destination)
            .with("exit_is_destination", *destination == [0; 94])
            .hex("message", block),
        Seen::Reply { id, packet } => {
            record.with("status", "reply").hex("surb_id", id).hex("delta_prime", &packet[624..])
        }
        Seen::Duplicate => record.with("status", "duplicate"),
        Seen::Refused(wakumix_sphinx::Reject::Mac) => record.with("status", "invalid_mac"),
        Seen::Refused(reject) => record.with("status", "error").with("error", reject.to_string()),
    };
    (record, Arrival { seen, raw })
}

/// A packet on its way along `path`, until it ends or is refused: the records, and what the last node saw.
pub(super) fn record_path(of: Profile, path: &[Node], packet: &[u8]) -> (Vec<Object>, Option<Arrival>) {
    let mut packet = packet.to_vec();
    let mut records = Vec::new();
    let mut last = None;
    for node in path {
        let (record, arrival) = record_hop(of, &node.private, &packet, None);
        records.push(record);
        let next = match &arrival.seen {
            Seen::Forward { packet, .. } => Some(packet.clone()),
            _ => None,
        };
        last = Some(arrival);
        match next {
            Some(next) => packet = next,
            None => break,
        }
    }
    (records, last)
}

/// A packet as the section records it.
pub(super) struct Plan<'a> {
    pub(super) name: &'a str,
    pub(super) path: [usize; 3],
    pub(super) delays: [u16; 3],
    pub(super) destination: AddressBytes,
    pub(super) ephemeral: [u8; 32],
    pub(super) block: [u8; MESSAGE_LEN],
}

impl Plan<'_> {
    pub(super) fn build(&self, of: Profile, nodes: &[Made]) -> Result<Vec<u8>, GenerateError> {
        let path = hops(&path(nodes, self.path), self.delays)?;
        let mut packet = vec![0; PACKET_LEN];
        Sphinx::new(of).build_block(&self.ephemeral, &path, &self.destination, &self.block, &mut packet)?;
        Ok(packet)
    }

    fn entry(&self, of: Profile, nodes: &[Made]) -> Result<Object, GenerateError> {
        let packet = self.build(of, nodes)?;
        let nodes_of_path = path(nodes, self.path);
        let parts = inspect::header_parts(&self.ephemeral, &hops(&nodes_of_path, self.delays)?)?;
        let internals = Object::new()
            .hexes("alpha", &parts.alphas)
            .hexes("shared_secrets", &parts.secrets)
            .hex("filler", parts.filler);
        let (records, _) = record_path(of, &nodes_of_path, &packet);
        Ok(Object::new()
            .with("name", self.name)
            .with("path", labels(nodes, self.path))
            .hex("ephemeral_private_key", self.ephemeral)
            .with("delays_ms", delays(self.delays))
            .hex("destination_address_bytes", self.destination)
            .hex("message", self.block)
            .with("internals", internals)
            .hex("packet", packet)
            .with("hops", records))
    }
}

fn labels(nodes: &[Made], path: [usize; 3]) -> Vec<Tree> {
    path.iter().map(|index| nodes[*index].label.as_str().into()).collect()
}

fn delays(delays: [u16; 3]) -> Vec<Tree> {
    delays.iter().map(|delay| (*delay).into()).collect()
}

/// A block with a body of `length` arbitrary bytes.
pub(super) fn plain_block(
    source: &Source,
    of: Profile,
    name: &str,
    length: usize,
) -> Result<[u8; MESSAGE_LEN], GenerateError> {
    let number = sequence_number(source, of, name).unwrap_or_default();
    Ok(Sphinx::new(of).message_block(&source.bytes(name, length), number.to_be_bytes())?)
}

/// `sphinx_packets`: bodies of any bytes, then requests and cover.
pub(super) fn forward(
    source: &Source,
    of: Profile,
    nodes: &[Made],
    surbs: &[MadeSurb],
) -> Result<Vec<Object>, GenerateError> {
    let here = [0; 94];
    let away = |index: usize| nodes[index].address.encode();
    let plan = |index: usize, name, path, delays, destination| {
        let ephemeral = source.array(&format!("ephemeral {index}"));
        let block = plain_block(source, of, &format!("body {index}"), 600 * index + index)?;
        Ok::<_, GenerateError>(Plan { name, path, delays, destination, ephemeral, block })
    };
    let mut plans = [
        plan(0, "exit is destination, no delays", [0, 1, 2], [0, 0, 0], here)?,
        plan(1, "forward destination tcp", [2, 3, 4], [100, 65535, 0], away(5))?,
        plan(2, "forward destination quic, path with quic and relay", [5, 6, 7], [256, 255, 0], away(6))?,
        plan(3, "forward destination circuit relay", [1, 3, 5], [0, 500, 0], away(7))?,
        plan(4, "same node three times, all ff ephemeral", [2, 2, 2], [3, 4, 0], here)?,
        plan(5, "ephemeral scalar one", [0, 4, 5], [9, 10, 0], here)?,
    ];
    plans[4].ephemeral = [0xff; 32];
    plans[5].ephemeral = [0; 32];
    plans[5].ephemeral[0] = 1;
    let entries: Result<Vec<_>, _> = plans.iter().map(|plan| plan.entry(of, nodes)).collect();
    let mut entries = entries?;
    let echo = "/echo/1.0.0";
    let lightpush = "/vac/waku/lightpush/3.0.0";
    let full = of.data_len() - 2 - echo.len();
    for (name, codec, length, count) in [
        ("request without data", echo, 0, 0),
        ("request that fills the block", echo, full, 0),
        ("request with 1 SURB", lightpush, 500, 1),
        ("request with 3 SURBs", echo, 40, 3),
        ("cover", COVER_CODEC, of.data_len() - 18, 0),
    ] {
        entries.push(message_entry(source, of, nodes, &surbs[..count], (name, codec, length))?);
    }
    Ok(entries)
}

fn message_entry(
    source: &Source,
    of: Profile,
    nodes: &[Made],
    surbs: &[MadeSurb],
    (name, codec, length): (&str, &str, usize),
) -> Result<Object, GenerateError> {
    let data = source.bytes(name, length);
    let cover = codec == COVER_CODEC;
    let body = if cover {
        MixMessage { codec: codec.as_bytes(), rest: &data }.encode()?
    } else {
        let surbs: Result<Vec<_>, _> = surbs.iter().map(|made| Surb::from_bytes(&made.bytes)).collect();
        Request { codec, surbs: surbs?, data: &data }.encode()?
    };
    let number = sequence_number(source, of, name);
    let block = Sphinx::new(of).message_block(&body, number.unwrap_or_default().to_be_bytes())?;
    let ephemeral = source.array(&format!("{name} ephemeral"));
    let plan = Plan { name, path: [3, 1, 0], delays: [50, 50, 0], destination: [0; 94], ephemeral, block };
    Ok(plan
        .entry(of, nodes)?
        .with("codec", codec)
        .hex("app_message", data)
        .hex("mix_message", body)
        .with("seq_no", number)
        .with("num_surbs", surbs.len())
        .with("surb_count_byte_present", !cover))
}

/// A SURB and the entry that records its life.
pub(super) struct MadeSurb {
    pub(super) bytes: Vec<u8>,
    pub(super) credentials: Credentials,
    /// Nodes of the reply path, by index.
    pub(super) path: [usize; 3],
    /// The reply as the exit sends it.
    pub(super) packet: Vec<u8>,
    entry: Object,
}

impl MadeSurb {
    pub(super) fn entry(&self) -> Tree {
        self.entry.clone().into()
    }
}

/// `surbs`: an empty reply, a short one, one that fills the block.
pub(super) fn surbs(source: &Source, of: Profile, nodes: &[Made]) -> Result<Vec<MadeSurb>, GenerateError> {
    let cases = [([0, 2, 4], [0, 0, 0], 0), ([1, 3, 5], [10, 1, 0], 32), ([6, 7, 0], [50, 50, 0], of.data_len() - 1)];
    let make = |(index, (path, delays, length))| surb(source, of, nodes, index, (path, delays, length));
    cases.into_iter().enumerate().map(make).collect()
}

fn surb(
    source: &Source,
    of: Profile,
    nodes: &[Made],
    index: usize,
    (indices, delays_ms, length): ([usize; 3], [u16; 3], usize),
) -> Result<MadeSurb, GenerateError> {
    let name = format!("surb {index}");
    let ephemeral = source.array(&format!("{name} ephemeral"));
    let (id, key) = (source.array(&format!("{name} id")), source.array(&format!("{name} key")));
    let nodes_of_path = path(nodes, indices);
    let path_hops = hops(&nodes_of_path, delays_ms)?;
    let (made, _) = Sphinx::new(of).create_surb_with(&ephemeral, &path_hops, SurbId::from_bytes(id), &key)?;
    let bytes = made.to_bytes();
    let secrets = inspect::header_parts(&ephemeral, &path_hops)?.secrets;
    let credentials = Credentials { id, key, secrets };
    let data = source.bytes(&format!("{name} reply"), length);
    let number = sequence_number(source, of, &name);
    let block = Sphinx::new(of).message_block(&encode_reply(&data), number.unwrap_or_default().to_be_bytes())?;
    let mut packet = vec![0; PACKET_LEN];
    Sphinx::new(of).use_surb_block(made, &block, &mut packet)?;
    let (records, arrival) = record_path(of, &nodes_of_path, &packet);
    let arrival = arrival.ok_or_else(|| GenerateError::Value("a reply did not arrive".to_owned()))?;
    let opened = recover(of, &credentials, arrival)?;
    let entry = Object::new()
        .with("path", labels(nodes, indices))
        .hex("ephemeral_private_key", ephemeral)
        .with("delays_ms", delays(delays_ms))
        .hex("surb_id", id)
        .hex("surb_key", key)
        .hexes("secrets", &secrets)
        .hex("first_hop_address_bytes", &bytes[..94])
        .hex("header", &bytes[94..718])
        .hex("surb_bytes", &bytes)
        .hex("reply_app_message", &data)
        .with("seq_no", number)
        .hex("reply_chunk", block)
        .hex("packet", &packet)
        .with("hops", records)
        .hex("recovered_chunk", opened.block())
        .with("recovered_mix_message_ok", opened.body().is_some())
        .with("recovered_codec", "")
        .hex("recovered_message", &data);
    Ok(MadeSurb { bytes, credentials, path: indices, packet, entry })
}
