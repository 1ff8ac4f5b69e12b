//! What each node of a test net is configured with: flags of `wakumix node`.

use libp2p_identity::Keypair;

use super::{
    choices::Discovery,
    kind::Kind,
    plan::{CLUSTER, NodePlan, Plan, SHARD, SHARDS},
};
use crate::{
    config::{Flag, Inputs, Timespan, load},
    node::{Node, StartError},
};

/// Starts a node. With `surfaces`, it serves REST and metrics on free ports; `bootstrap` is the record of the node that
/// discv5 asks first.
pub(super) async fn start_node(
    plan: &Plan,
    planned: &NodePlan,
    surfaces: bool,
    bootstrap: Option<&str>,
) -> Result<Node, StartError> {
    let own = own(plan, planned);
    let all = own.into_iter().chain(common(plan, surfaces)).chain(discovery(plan.options.discovery, bootstrap));
    let flag = |(name, value): (&str, String)| Flag { name: name.to_owned(), values: vec![value] };
    let flags = all.map(flag).chain([roles(planned.kind), profiles(plan)]).collect();
    Node::start(&load(&Inputs { flags, ..Inputs::default() })?).await
}

/// What differs from node to node. A mix key that is set is never replaced, so where keys are to be, the node draws its own.
fn own(plan: &Plan, planned: &NodePlan) -> Vec<(&'static str, String)> {
    let mix_key = || ("mixkey", hex::encode(planned.mix_key.as_bytes()));
    let keys = match plan.options.rotate {
        None => vec![mix_key()],
        Some(lifetime) => {
            let overlap = Timespan::from_millis(lifetime.as_millis() / 2);
            vec![("keys.lifetime", lifetime.to_string()), ("keys.overlap", overlap.to_string())]
        }
    };
    let loss = plan
        .options
        .loss
        .map(|loss| [("host.inject-loss", loss.to_string()), ("host.inject-loss-seed", planned.loss_seed.to_string())]);
    let identity = ("nodekey", secret_hex(&planned.identity));
    [identity].into_iter().chain(keys).chain(loss.into_iter().flatten()).collect()
}

fn profiles(plan: &Plan) -> Flag {
    let values = plan.options.profile.iter().map(ToString::to_string).collect();
    Flag { name: "mix.profile".to_owned(), values }
}

fn roles(kind: Kind) -> Flag {
    let roles: &[&str] = match kind {
        Kind::Relay => &["relay"],
        Kind::Mixer => &["mixer"],
        Kind::Exit => &["relay", "mixer", "exit"],
        Kind::Sender => &["sender"],
    };
    Flag { name: "roles".to_owned(), values: roles.iter().map(|role| (*role).to_owned()).collect() }
}

/// Packets a second that each node admits: more than any of them can send here.
const CAPACITY: u32 = 1_000_000;

fn common(plan: &Plan, surfaces: bool) -> [(&'static str, String); 17] {
    let delay = plan.options.delay.to_string();
    let surfaces = surfaces.to_string();
    let shards = SHARDS.map_or(0, std::num::NonZeroU16::get).to_string();
    [
        ("cluster-id", CLUSTER.to_string()),
        ("shard", SHARD.to_string()),
        ("num-shards-in-network", shards),
        ("listen-address", "127.0.0.1".to_owned()),
        ("tcp-port", "0".to_owned()),
        ("ip-colocation-limit", "0".to_owned()),
        ("mix-allow-all-addresses", "true".to_owned()),
        // What the machine can do is shared by all nodes: what one of them alone would measure means nothing.
        ("mixer.capacity", CAPACITY.to_string()),
        ("rest", surfaces.clone()),
        ("rest-port", "0".to_owned()),
        ("metrics-server", surfaces),
        ("metrics-server-port", "0".to_owned()),
        ("mix.delay", delay.clone()),
        ("sender.hold", delay.clone()),
        ("exit.hold", delay),
        ("exit.allow-private-addresses", "true".to_owned()),
        ("mixer.cover", plan.options.cover.to_string()),
    ]
}

fn discovery(way: Discovery, bootstrap: Option<&str>) -> Vec<(&'static str, String)> {
    match way {
        Discovery::Discv5 => {
            let on = [("discv5-discovery", "true".to_owned()), ("discv5-udp-port", "0".to_owned())];
            on.into_iter().chain(bootstrap.map(|record| ("discv5-bootstrap-node", record.to_owned()))).collect()
        }
        Discovery::Static => ["discv5-discovery", "descriptors", "rendezvous", "peer-exchange"]
            .map(|source| (source, "false".to_owned()))
            .into(),
    }
}

/// The secret of an identity that this module made; empty for any other type of key, which then does not load.
fn secret_hex(identity: &Keypair) -> String {
    let secp256k1 = identity.clone().try_into_secp256k1();
    secp256k1.map(|keypair| hex::encode(keypair.secret().to_bytes())).unwrap_or_default()
}
