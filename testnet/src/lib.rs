//! Whole nodes in one process, over real loopback sockets: the harness of `wakumix testnet` and of the integration tests.
//!
//! A [`NodePlan`] says what a node is to be, as flags of `wakumix node`; a [`TestNet`] starts nodes exactly as that command does,
//! tells them of each other, and ends them. [`run`] is `wakumix testnet`: a net that is planned by [`Options`], sends messages and
//! reports.

mod command;
mod kind;
mod net;
mod node_plan;

pub use command::{
    DiscoveryMethod, KillReport, Options, Payload, Percentiles, Report, RolePackets, Shape, Share, TestnetError, run,
};
pub use kind::NodeKind;
pub use net::{MemberError, NetMember, TestNet, given_to_others, service, tell};
pub use node_plan::NodePlan;

/// The customary cluster of isolated tests (`spec/waku.md §7`).
pub const CLUSTER: u16 = 66;
/// The only shard of a net.
pub const SHARD: u16 = 0;
/// The topic of that shard.
pub const TOPIC: &str = "/waku/2/rs/66/0";
