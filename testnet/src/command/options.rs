//! Flags of `wakumix testnet`.

use std::path::PathBuf;

use wakumix_sphinx::WireFormat;

use super::choices::{DiscoveryMethod, Payload, Shape, Share, cover, percent};
use wakumix_node::config::{MixDelay, Percent, Timespan};

use crate::NodeKind;

/// What a net of relays alone has not.
const GOSSIP_CONFLICTS: [&str; 17] = [
    "mixers",
    "exits",
    "senders",
    "messages",
    "delay",
    "profile",
    "discovery",
    "one_by_one",
    "burst",
    "loss",
    "kill_mixers",
    "kill_exits",
    "rotate",
    "cover",
    "hold",
    "port_base",
    "websocket",
];

/// Flags of `wakumix testnet`.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Relay nodes: gossipsub subscribers that count what they receive
    #[arg(long, default_value_t = 2, value_name = "N")]
    pub relays: u16,
    /// Mixer nodes
    #[arg(long, default_value_t = 6, value_name = "N")]
    pub mixers: u16,
    /// Exit nodes; each also relays and serves lightpush
    #[arg(long, default_value_t = 2, value_name = "N")]
    pub exits: u16,
    /// Sender nodes
    #[arg(long, default_value_t = 2, value_name = "N")]
    pub senders: u16,
    /// Messages to send, in turn from each sender
    #[arg(long, default_value_t = 100, value_name = "N")]
    pub messages: u32,
    /// Size of each message's payload, at most 4096 bytes: a number of bytes, or a size such as 4KiB
    #[arg(long, default_value = "1KiB", value_name = "SIZE")]
    pub payload: Payload,
    /// Mean delay at each hop, or none
    #[arg(long, default_value = "50ms", value_name = "TIME")]
    pub delay: MixDelay,
    /// Wire profile: aes-ctr/seq, lioness/seq, lioness/pad, a preset's name, or sphinx-packet; after a comma a second one
    /// that all nodes serve as well
    #[arg(long, default_value = "lioness/pad", value_delimiter = ',', value_name = "PROFILE")]
    pub profile: Vec<WireFormat>,
    /// How nodes find each other: discv5, from the record of the first relay alone, or static, told by the test net
    #[arg(long, default_value_t = DiscoveryMethod::default(), value_enum, hide_possible_values = true, value_name = "WAY")]
    pub discovery: DiscoveryMethod,
    /// Send each message when the one before has its answer
    #[arg(long)]
    pub one_by_one: bool,
    /// Send so many messages instead, all from the first sender and all at once
    #[arg(long, value_name = "N", conflicts_with_all = ["messages", "one_by_one", "rate", "lasting"])]
    pub burst: Option<u32>,
    /// Send so many messages in a second, whether or not those before have their answers
    #[arg(long, value_name = "N", conflicts_with = "one_by_one", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub rate: Option<u32>,
    /// Send for so long, at --rate
    #[arg(long = "for", value_name = "TIME", conflicts_with = "messages")]
    pub lasting: Option<Timespan>,
    /// Lose that part of the packets that each host would write, e.g. 5 or 0.5
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    pub loss: Option<Percent>,
    /// Kill that many mixers at once and without warning: a number, or a part such as 1/3
    #[arg(long, value_name = "N|PART")]
    pub kill_mixers: Option<Share>,
    /// Kill that many exits, at the same moment
    #[arg(long, value_name = "N|PART")]
    pub kill_exits: Option<Share>,
    /// Messages sent before the kill; a quarter of all when left out
    #[arg(long, value_name = "M")]
    pub kill_after: Option<u32>,
    /// Relays alone, connected in a star or a full mesh, that publish messages themselves: whether each comes to all; at 400 a
    /// second for a minute unless --rate and --for say otherwise
    #[arg(long, value_enum, value_name = "SHAPE", conflicts_with_all = GOSSIP_CONFLICTS)]
    pub gossip: Option<Shape>,
    /// Kill that many relays when half of the time is over, never the middle of a star
    #[arg(long, value_name = "N|PART", requires = "gossip")]
    pub kill_relays: Option<Share>,
    /// Replace every mix key after such a time; a replaced key opens packets for half of it
    #[arg(long, value_name = "TIME")]
    pub rotate: Option<Timespan>,
    /// Mean time between two cover packets of each node, by-role, or none
    #[arg(long, default_value = "none", value_parser = cover, value_name = "TIME", conflicts_with = "hold")]
    pub cover: String,
    /// Makes the same keys and payloads again, kills the same nodes and loses packets by the same draws; random when left
    /// out
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,
    /// Print the report as one JSON object
    #[arg(long)]
    pub json: bool,
    /// Keep the net up until Ctrl-C, with REST and metrics on every node; with --rate messages go on meanwhile
    #[arg(long)]
    pub hold: bool,
    /// Give every node a WebSocket listener, and serve a page that sends through the net; its address is printed
    #[arg(long, requires = "hold", conflicts_with = "port_base")]
    pub websocket: bool,
    /// Where that page is: the folder that browser/demo/build fills
    #[arg(long, value_name = "DIR", requires = "websocket", default_value = "browser/demo/dist")]
    pub page: PathBuf,
    /// Give the nodes the same ports each time, three for each in the order of the table, from this one on: libp2p (TCP, and UDP
    /// for discv5), REST, metrics
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1024..))]
    pub port_base: Option<u16>,
    /// Write the metrics servers of all nodes into a file as Prometheus reads it (file_sd_configs)
    #[arg(long, value_name = "FILE", requires = "hold")]
    pub prometheus_targets: Option<PathBuf>,
}

impl Options {
    /// Nodes of a kind.
    pub(super) fn count(&self, kind: NodeKind) -> u16 {
        match kind {
            NodeKind::Relay => self.relays,
            NodeKind::Mixer => self.mixers,
            NodeKind::Exit => self.exits,
            NodeKind::Sender => self.senders,
        }
    }

    /// Messages to send.
    pub(super) fn messages(&self) -> u32 {
        let by_time = self.rate.zip(self.lasting).map(|(rate, lasting)| {
            u32::try_from(u64::from(rate).saturating_mul(lasting.as_millis()) / 1000).unwrap_or(u32::MAX)
        });
        self.burst.or(by_time).unwrap_or(self.messages)
    }

    /// Nodes of a kind to kill.
    pub(super) fn killed(&self, kind: NodeKind) -> u16 {
        let share = match kind {
            NodeKind::Mixer => self.kill_mixers,
            NodeKind::Exit => self.kill_exits,
            NodeKind::Relay | NodeKind::Sender => None,
        };
        share.map_or(0, |share| share.of(self.count(kind)))
    }

    /// Messages sent before the kill.
    pub(super) fn kill_after(&self) -> u32 {
        self.kill_after.unwrap_or(self.messages() / 4)
    }

    /// Whether packets are lost on purpose, so that not every message need be answered.
    pub(super) fn makes_trouble(&self) -> bool {
        let loses = self.loss.is_some_and(|loss| loss.as_share() > 0.0);
        loses || self.killed(NodeKind::Mixer) > 0 || self.killed(NodeKind::Exit) > 0
    }

    /// Whether packets are made that nobody asked for: the net is never at rest then.
    pub(super) fn makes_cover(&self) -> bool {
        self.cover != "none"
    }

    /// The profiles, as they are written.
    pub(super) fn profiles(&self) -> String {
        self.profile.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }
}
