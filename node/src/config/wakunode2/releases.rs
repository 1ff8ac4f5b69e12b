//! The options of two releases of `wakunode2`, and what is different about those that are keys here: for the table in
//! `docs/wakunode2.md`.

/// A release of `wakunode2`.
pub(crate) struct Release {
    /// What people call it.
    pub(crate) name: &'static str,
    /// Whether it has an option of this name.
    pub(crate) has: fn(&str) -> bool,
}

/// The releases that `docs/wakunode2.md` covers: nwaku of 29 December 2025 (commit dafdee9f5) and logos-delivery of 29 June 2026
/// (commit ec36e09ba), both of which name their options in `tools/confutils/cli_args.nim`.
pub(crate) const WAKUNODE2: [Release; 2] = [
    Release { name: "Dec 2025", has: |name| BOTH.contains(&name) || DECEMBER_2025.contains(&name) },
    Release { name: "June 2026", has: |name| BOTH.contains(&name) || JUNE_2026.contains(&name) },
];

/// Every option of either release, in the order of their names.
pub(crate) fn all() -> Vec<&'static str> {
    let mut names = [BOTH, DECEMBER_2025, JUNE_2026].concat();
    names.sort_unstable();
    names
}

#[rustfmt::skip]
const BOTH: &[&str] = &[
    "agent-string", "cluster-id", "config-file", "content-topic", "discv5-bits-per-hop", "discv5-bootstrap-node",
    "discv5-bucket-ip-limit", "discv5-discovery", "discv5-enr-auto-update", "discv5-table-ip-limit", "discv5-udp-port",
    "dns-addrs-name-server", "dns-discovery", "dns-discovery-url", "dns4-domain-name", "execute", "ext-multiaddr",
    "ext-multiaddr-only", "filter", "filter-max-criteria", "filter-max-peers-to-serve", "filter-subscription-timeout",
    "filternode", "ip-colocation-limit", "keep-alive", "lightpush", "lightpushnode", "listen-address", "log-format",
    "log-level", "max-connections", "max-msg-size", "metrics-logging", "metrics-server", "metrics-server-address",
    "metrics-server-port", "mix", "mixkey", "mixnode", "nat", "nodekey", "num-shards-in-network", "peer-exchange",
    "peer-exchange-node", "peer-persistence", "peer-store-capacity", "ports-shift", "preset", "protected-shard",
    "rate-limit", "relay", "relay-client", "relay-peer-exchange", "relay-service-ratio", "relay-shard-manager",
    "reliability", "rendezvous", "rest", "rest-address", "rest-admin", "rest-allow-origin", "rest-port",
    "rest-relay-cache-capacity", "rln-relay", "rln-relay-chain-id", "rln-relay-cred-password", "rln-relay-cred-path",
    "rln-relay-dynamic", "rln-relay-epoch-sec", "rln-relay-eth-client-address", "rln-relay-eth-contract-address",
    "rln-relay-eth-private-key", "rln-relay-membership-index", "rln-relay-user-message-limit", "shard", "staticnode",
    "store", "store-max-num-db-connections", "store-message-db-migration", "store-message-db-url",
    "store-message-db-vacuum", "store-message-retention-policy", "store-resume", "store-sync", "store-sync-interval",
    "store-sync-range", "store-sync-relay-jitter", "storenode", "tcp-port", "websocket-port",
    "websocket-secure-cert-path", "websocket-secure-key-path", "websocket-secure-support", "websocket-support",
];

const DECEMBER_2025: &[&str] = &["legacy-store", "max-relay-peers"];

#[rustfmt::skip]
const JUNE_2026: &[&str] = &[
    "enable-kad-discovery", "entry-node", "kad-bootstrap-node", "kad-random-lookup-interval",
    "kad-service-lookup-interval", "local-storage-path", "mode", "quic-port", "quic-support",
];

/// What an operator of `wakunode2` should know of a key of the same name.
pub(crate) fn note(key: &str) -> Option<&'static str> {
    NOTES.iter().find(|(name, _)| *name == key).map(|(_, note)| *note)
}

pub(crate) const NOTES: &[(&str, &str)] = &[
    (
        "cluster-id",
        "1 brings the preset `twn`, as there; 2 brings no preset, and says so: there it is `logos.dev`, whose number has changed",
    ),
    ("content-topic", "needs `num-shards-in-network`, as there"),
    ("discv5-discovery", "unset means on where there is a record to begin from"),
    ("dns-discovery", "unset means on where there is a list"),
    ("dns-discovery-url", "a list"),
    ("dns4-domain-name", "announced before the addresses of `nat`; packet headers carry IPv4, so name that as well"),
    (
        "enable-kad-discovery",
        "unset means on where there is a `kad-bootstrap-node`; speaks `/logos/service-discovery/1.0.0`, which wakunode2 has since 15 June 2026",
    ),
    ("entry-node", "records are for discv5 alone"),
    ("ip-colocation-limit", "0 turns the rule off; any other number is 5"),
    ("lightpush", "on unless it is false"),
    ("local-storage-path", "unset by default, not `./data`"),
    ("log-level", "takes targets as well"),
    ("max-connections", "unset by default: as many as memory and open files allow"),
    ("mixkey", "`mixkey-file` keeps it out of the process list"),
    ("nat", "`any` maps no ports, and says so; `upnp` and `pmp` are refused"),
    ("nodekey", "`nodekey-file` keeps it out of the process list"),
    ("num-shards-in-network", "0 by default, as in June 2026"),
    ("preset", "`twn`, `logos.dev`, `logos.test`, `status.prod`, and wire profiles; values that are written win"),
    ("rate-limit", "budgets of `lightpush` and `mix`; those of services that this node has not mean nothing"),
    ("rest", "on unless it is false, as in December 2025"),
    ("rest-allow-origin", "origins with any port (`localhost:*`), no other wildcards"),
    ("shard", "unset, all shards of `num-shards-in-network`; shard 0 where that is 0"),
];
