//! Names of the existing fleet (`wakunode2`, `spec/waku.md §7.1`) that are not keys of ours: switches of roles, and options without
//! effect here. Other names of a key stand with the key.

use wakumix_role_api::{RoleName, exit, mixer, relay};

/// A boolean of the fleet that turns roles on or off.
pub struct Switch {
    /// Its name.
    pub name: &'static str,
    /// The roles it stands for.
    pub roles: &'static [RoleName],
    /// Its value in the fleet when it is not given.
    pub default: bool,
    /// What it does.
    pub doc: &'static str,
}

/// The switches. Their names are tables of ours too: as a boolean they are the fleet's switch.
pub const SWITCHES: &[Switch] = &[
    Switch {
        name: "relay",
        roles: &[relay::NAME],
        default: true,
        doc: "fleet switch for the relay role; use roles instead",
    },
    Switch {
        name: "mix",
        roles: &[mixer::NAME, exit::NAME],
        default: false,
        doc: "fleet switch for the mixer and exit roles; use roles instead",
    },
];

/// Options of the fleet that are accepted and have no effect here, so that its start scripts and files work.
pub const WITHOUT_EFFECT: &[&str] = &[
    "agent-string",
    "content-topic",
    "dns4-domain-name",
    "discv5-bits-per-hop",
    "discv5-bucket-ip-limit",
    "discv5-only",
    "discv5-table-ip-limit",
    "entry-layer",
    "execute",
    "filter",
    "filter-max-criteria",
    "filter-max-peers-to-serve",
    "filter-subscription-timeout",
    "filternode",
    "keep-alive",
    "legacy-store",
    "max-relay-peers",
    "metrics-logging",
    "mix-disable-cover-traffic",
    "mix-disable-spam-protection",
    "mix-user-message-limit",
    "mode",
    "peer-persistence",
    "peer-store-capacity",
    "protected-shard",
    "pubsub-topic",
    "relay-client",
    "relay-peer-exchange",
    "relay-service-ratio",
    "relay-shard-manager",
    "reliability",
    "rln-relay",
    "rln-relay-chain-id",
    "rln-relay-cred-password",
    "rln-relay-cred-path",
    "rln-relay-dynamic",
    "rln-relay-epoch-sec",
    "rln-relay-eth-client-address",
    "rln-relay-eth-contract-address",
    "rln-relay-membership-index",
    "rln-relay-user-message-limit",
    "store",
    "store-max-num-db-connections",
    "store-message-db-migration",
    "store-message-db-url",
    "store-message-db-vacuum",
    "store-message-retention-policy",
    "store-resume",
    "store-sync",
    "store-sync-interval",
    "store-sync-range",
    "store-sync-relay-jitter",
    "storenode",
    "topic",
    "websocket-secure-cert-path",
    "websocket-secure-key-path",
    "websocket-secure-support",
];

/// The switch of a name.
pub(crate) fn switch(name: &str) -> Option<&'static Switch> {
    SWITCHES.iter().find(|switch| switch.name == name)
}

/// Whether an option is accepted without effect.
pub(crate) fn is_without_effect(name: &str) -> bool {
    WITHOUT_EFFECT.contains(&name)
}
