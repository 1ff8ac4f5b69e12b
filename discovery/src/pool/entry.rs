//! What operators see of one mix node.

use std::time::Duration;

use libp2p_identity::PeerId;
use multiaddr::Multiaddr;
use wakumix_mix::{Family, HopAddress};
use wakumix_role_api::directory::PoolState;
use wakumix_sphinx::{PublicKey, WireFormat};
use wakumix_waku::record::{Capabilities, Shards};

use crate::peer_report::SourceName;

wakumix_sphinx::named_enum! {
    /// By what a node is known to be where it says that it is.
    pub enum ContactClass {
        /// The operator wrote it down.
        Entry = "entry",
        /// This node has reached it at the address that headers carry.
        Reached = "reached",
        /// It has dialled this node, which proves its key and no address: it is not used.
        InboundOnly = "inbound_only",
        /// By nothing yet.
        Unverified = "stranger",
    }
}

/// One known mix node, whether paths may use it and why not. All times are counted back, or forward, from the moment of
/// the question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolEntry {
    /// The node.
    pub peer: PeerId,
    /// Where it listens, without `/p2p`, the most preferred first.
    pub addresses: Vec<Multiaddr>,
    /// What headers carry for it, if one of its addresses can be.
    pub hop_address: Option<HopAddress>,
    /// Its mix key now, if a source has told it.
    pub mix_key: Option<PublicKey>,
    /// What it offers, as far as it has told.
    pub capabilities: Capabilities,
    /// Its cluster and shards, if it has told them.
    pub shards: Option<Shards>,
    /// The wire profiles that it speaks; empty while it has not told them.
    pub profiles: Vec<WireFormat>,
    /// Whether it puts fragments of requests together when a path ends at it, if it has told.
    pub reassembles: Option<bool>,
    /// Whether it says that newcomers should look elsewhere.
    pub is_full: bool,
    /// The sources that tell of it now, most trusted first.
    pub sources: Vec<SourceName>,
    /// What its operator calls itself.
    pub operator: Option<String>,
    /// The set of nodes that one operator runs and that it belongs to; the number means nothing in another answer.
    pub family: Option<Family>,
    /// By what it is known to be there.
    pub class: ContactClass,
    /// Whether this node is connected to it now, whoever opened the connection.
    pub is_connected: bool,
    /// How long ago it was reached last.
    pub last_seen: Option<Duration>,
    /// Failures to reach it in a row.
    pub failures: u32,
    /// What it can be used for.
    pub state: PoolState,
    /// Why, for people.
    pub reason: String,
    /// For how long it has been in that state.
    pub since: Duration,
    /// When it is contacted next, if it is to be.
    pub next_check: Option<Duration>,
}
