//! What a node of a net is configured with.

use std::collections::BTreeMap;

use libp2p_identity::secp256k1;
use wakumix_node::{
    config::{Flag, Inputs, Problems, load},
    node::{Node, StartError},
};
use wakumix_sphinx::{PrivateKey, Weaknesses};

use crate::{CLUSTER, SHARD};

/// The sources of discovery that a node asks unless it is told not to.
const SOURCES: [&str; 4] = ["discv5-discovery", "descriptors", "rendezvous", "peer-exchange"];

/// What a node is to be: flags of `wakumix node` on top of those that suit a net on one machine.
#[derive(Clone)]
pub struct NodePlan {
    name: String,
    flags: BTreeMap<String, String>,
    weaknesses: Weaknesses,
}

impl NodePlan {
    /// A node of these roles with new keys, on free ports of loopback. It serves neither REST nor metrics, holds a packet for
    /// 2 ms on average, makes no cover, takes whatever comes and knows only the nodes that it is given.
    pub fn new(name: impl Into<String>, roles: &[&str]) -> Self {
        let flags = [
            ("roles", roles.join(",")),
            ("nodekey", hex::encode(secp256k1::Keypair::generate().secret().to_bytes())),
            ("mixkey", hex::encode(PrivateKey::generate(&mut rand::rng()).as_bytes())),
            ("cluster-id", CLUSTER.to_string()),
            ("shard", SHARD.to_string()),
            ("num-shards-in-network", "1".to_owned()),
            ("listen-address", "127.0.0.1".to_owned()),
            ("tcp-port", "0".to_owned()),
            ("discv5-udp-port", "0".to_owned()),
            ("rest", "false".to_owned()),
            ("rest-port", "0".to_owned()),
            ("metrics-server-port", "0".to_owned()),
            ("ip-colocation-limit", "0".to_owned()),
            ("host.shared-addresses", "127.0.0.0/8".to_owned()),
            ("mix-allow-all-addresses", "true".to_owned()),
            ("mix.networks", "127.0.0.0/8".to_owned()),
            // What the machine can do is shared by all nodes: what one of them alone would measure means nothing.
            ("mixer.capacity", "1000000".to_owned()),
            ("mixer.cover", "none".to_owned()),
        ];
        let flags = flags.map(|(name, value)| (name.to_owned(), value)).into();
        let plan = Self { name: name.into(), flags, weaknesses: Weaknesses::NONE }.held_for("2ms", "none");
        // A node that only sends visits those that it is not connected to ten times as seldom.
        let visits = roles.contains(&"sender") && !roles.iter().any(|role| ["mixer", "exit"].contains(role));
        let plan = if visits { plan.with("pool.check-interval", "1s") } else { plan };
        SOURCES.into_iter().fold(plan, |plan, source| plan.with(source, "false"))
    }

    /// What the net calls the node.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A key of the configuration that is set.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.flags.get(key).map(String::as_str)
    }

    /// Whether it has a role.
    pub fn has_role(&self, role: &str) -> bool {
        self.get("roles").is_some_and(|roles| roles.split(',').any(|has| has == role))
    }

    /// Whether it is an exit that serves lightpush itself.
    pub fn serves_lightpush(&self) -> bool {
        self.has_role("relay") && self.has_role("exit")
    }

    /// Sets a key of the configuration.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.flags.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Leaves a key of the configuration as it is by itself.
    #[must_use]
    pub fn without(mut self, key: &str) -> Self {
        self.flags.remove(key);
        self
    }

    /// How long it holds a packet of others on average, and one of its own.
    #[must_use]
    pub fn held_for(self, delay: &str, own: &str) -> Self {
        self.with("mix.delay", delay).with("sender.hold", own).with("exit.hold", own)
    }

    /// Takes countermeasures away.
    #[must_use]
    pub fn weakened(self, weaknesses: Weaknesses) -> Self {
        Self { weaknesses, ..self }
    }

    /// Turns discv5 on, to begin from the record of this node, or to be the first.
    #[must_use]
    pub fn with_discv5(self, bootstrap: Option<&str>) -> Self {
        let plan = self.with("discv5-discovery", "true");
        bootstrap.map_or(plan.clone(), |record| plan.with("discv5-bootstrap-node", record))
    }

    /// Discovers as nodes do by themselves, from the record of this node on, or to be the first.
    #[must_use]
    pub fn discovering(self, bootstrap: Option<&str>) -> Self {
        SOURCES.into_iter().fold(self, Self::without).with_discv5(bootstrap)
    }

    /// The flags as a command line for the program.
    pub fn arguments(&self) -> Vec<String> {
        self.flags.iter().map(|(name, value)| format!("--{name}={value}")).collect()
    }

    /// Checks the configuration, and starts nothing.
    ///
    /// # Errors
    /// Whatever the node says of it.
    pub fn check(&self) -> Result<(), Problems> {
        load(&self.inputs()).map(drop)
    }

    fn inputs(&self) -> Inputs {
        let flag = |(name, value): (&String, &String)| Flag { name: name.clone(), values: vec![value.clone()] };
        Inputs { flags: self.flags.iter().map(flag).collect(), ..Inputs::default() }
    }

    /// Starts the node. Must be called inside an actix `System`, e.g. in [`wakumix_node::runtime::block_on`].
    ///
    /// # Errors
    /// Whatever the node says of its configuration, or at its start.
    pub async fn start(&self) -> Result<Node, StartError> {
        let mut loaded = load(&self.inputs())?;
        loaded.weaknesses = self.weaknesses;
        Node::start(&loaded).await
    }
}
