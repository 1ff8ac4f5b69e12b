//! Named bundles of values for the networks that a node may join; they stand between the defaults and the file.

/// A named bundle.
pub(crate) struct Preset {
    /// Its name, the value of the `preset` key.
    pub(crate) name: &'static str,
    /// What it is for.
    pub(crate) doc: &'static str,
    /// Keys and values, written as in an environment variable.
    pub(crate) values: &'static [(&'static str, &'static str)],
}

/// All presets; the networks are described in `spec/mix-wire.md §20`.
pub(crate) const PRESETS: &[Preset] = &[
    Preset {
        name: "nwaku-2025-12",
        doc: "mix fleet of nwaku of December 2025; its nodes read delays in the wrong byte order, so none is asked for",
        values: &[("mix.profile", "nwaku-2025-12"), ("mix.delay", "none")],
    },
    Preset {
        name: "logos-delivery-2026-08",
        doc: "logos-delivery from February to August 2026",
        values: &[("mix.profile", "logos-delivery-2026-08"), ("mix.delay", "50ms")],
    },
    Preset {
        name: "mix-2026-07",
        doc: "nodes with the mix library of July 2026",
        values: &[("mix.profile", "mix-2026-07"), ("mix.delay", "50ms")],
    },
    Preset {
        name: "mix-2026-09",
        doc: "nodes with the mix library of August 2026 or later",
        values: &[("mix.profile", "mix-2026-09"), ("mix.delay", "50ms")],
    },
    Preset {
        name: "local",
        doc: "a test network on one machine or one bridge: cluster 66, one shard, no limit of peers on one address, loopback and private networks are served, loopback is shared by all, the pool may be in one subnet",
        values: &[
            ("cluster-id", "66"),
            ("shard", "0"),
            ("num-shards-in-network", "1"),
            ("ip-colocation-limit", "0"),
            ("mix.networks", "127.0.0.0/8,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16"),
            ("host.shared-addresses", "127.0.0.0/8,::1/128"),
            ("mix-allow-all-addresses", "true"),
            // The addresses of the machine or bridge may well be public ones.
            ("sender.min-subnets", "0"),
        ],
    },
];

/// The preset of a name.
pub(crate) fn find(name: &str) -> Option<&'static Preset> {
    PRESETS.iter().find(|preset| preset.name == name)
}

/// All names.
pub(crate) fn names() -> Vec<&'static str> {
    PRESETS.iter().map(|preset| preset.name).collect()
}
