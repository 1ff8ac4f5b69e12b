//! What a record says, for people and for programs.

use std::{
    io::{self, Write},
    net::{Ipv4Addr, Ipv6Addr},
};

use serde::Serialize;
use wakumix_records::node_record::{MAX_RECORD_LEN, NodeRecord};
use wakumix_waku::record::Capabilities;

/// A record as JSON. What it does not say is left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RecordJson {
    enr: String,
    peer_id: String,
    seq: u64,
    bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<Ipv4Addr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tcp: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    udp: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip6: Option<Ipv6Addr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tcp6: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    udp6: Option<u16>,
    /// The bit field of `waku2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    waku2: Option<u8>,
    /// The names of its bits.
    capabilities: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<u16>,
    shards: Vec<u16>,
    /// The entries of `multiaddrs`.
    multiaddrs: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mix_key: Option<String>,
    /// Keys of fields that cannot be read.
    unreadable: Vec<&'static str>,
}

impl RecordJson {
    pub(super) fn of(record: &NodeRecord) -> Self {
        let NodeRecord { peer, seq, fields, skipped, encoded } = record;
        let has = |bit| fields.capabilities.is_some_and(|all| all.contains(bit));
        Self {
            enr: record.to_text(),
            peer_id: peer.to_string(),
            seq: *seq,
            bytes: encoded.len(),
            ip: fields.ip4,
            tcp: fields.tcp4,
            udp: fields.udp4,
            ip6: fields.ip6,
            tcp6: fields.tcp6,
            udp6: fields.udp6,
            waku2: fields.capabilities.map(Capabilities::bits),
            capabilities: Capabilities::ALL.iter().filter(|(bit, _)| has(*bit)).map(|(_, name)| *name).collect(),
            cluster: fields.shards.as_ref().map(|shards| shards.cluster),
            shards: fields.shards.as_ref().map(|shards| shards.shards.clone()).unwrap_or_default(),
            multiaddrs: fields.multiaddrs.iter().map(ToString::to_string).collect(),
            mix_key: fields.mix_key.map(|key| key.to_string()),
            unreadable: skipped.clone(),
        }
    }

    /// One line a field.
    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let mut line = |name: &str, value: String| writeln!(out, "{name:<10}  {value}");
        line("peer id", self.peer_id.clone())?;
        line("sequence", self.seq.to_string())?;
        line("size", format!("{} of {MAX_RECORD_LEN} bytes", self.bytes))?;
        let ports = [
            ("ip", self.ip.map(|ip| ip.to_string())),
            ("tcp", self.tcp.map(|port| port.to_string())),
            ("udp", self.udp.map(|port| port.to_string())),
            ("ip6", self.ip6.map(|ip| ip.to_string())),
            ("tcp6", self.tcp6.map(|port| port.to_string())),
            ("udp6", self.udp6.map(|port| port.to_string())),
        ];
        for (name, value) in ports {
            value.map_or(Ok(()), |value| line(name, value))?;
        }
        if let Some(bits) = self.waku2 {
            let names = if self.capabilities.is_empty() { "none".to_owned() } else { self.capabilities.join(", ") };
            line("waku2", format!("{names} (0x{bits:02x})"))?;
        }
        if let Some(cluster) = self.cluster {
            line("cluster", cluster.to_string())?;
            line("shards", self.shards.iter().map(u16::to_string).collect::<Vec<_>>().join(", "))?;
        }
        for address in &self.multiaddrs {
            line("multiaddr", address.clone())?;
        }
        self.mix_key.iter().try_for_each(|key| line("mix key", key.clone()))?;
        self.unreadable.iter().try_for_each(|key| line("unreadable", (*key).to_owned()))
    }
}
