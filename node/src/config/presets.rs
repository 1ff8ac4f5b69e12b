//! Named bundles of values for the networks that a node may join; they stand between the defaults and the file.

use wakumix_role_api::config::ValueError;

/// A named bundle.
pub(crate) struct Preset {
    /// Its name, the value of the `preset` key.
    pub(crate) name: &'static str,
    /// Other names of it, as `wakunode2` has them.
    pub(crate) also: &'static [&'static str],
    /// What it is for.
    pub(crate) doc: &'static str,
    /// Keys and values, written as in an environment variable.
    pub(crate) values: &'static [(&'static str, &'static str)],
    /// Whether every message there needs an RLN proof.
    pub(crate) has_proofs: bool,
}

/// A network that is named by how its packets look (`spec/mix-wire.md §20`): nothing else of it is published.
const fn wire(name: &'static str, doc: &'static str, values: &'static [(&'static str, &'static str)]) -> Preset {
    Preset { name, also: &[], doc, values, has_proofs: false }
}

/// All presets. The public networks are those of `wakunode2`, with the nodes that it begins from: `networks_config.nim` of
/// logos-delivery of 20 August 2026 (commit 69fbffa3a), and of autumn 2026 what it added, mix nodes (#4219) and the tree of `twn`.
pub(crate) const PRESETS: &[Preset] = &[
    wire(
        "nwaku-2025-12",
        "mix wakunode2 of nwaku of December 2025; its nodes read delays in the wrong byte order, so none is asked for. \
         Cluster and first nodes are not published with it: write cluster-id, and first nodes under entry-node",
        &[("mix.profile", "nwaku-2025-12"), ("mix.delay", "none")],
    ),
    wire(
        "logos-delivery-2026-08",
        "logos-delivery from February to August 2026; likewise without cluster and first nodes. Its nodes of before 15 June \
         publish mix keys in extended records under /logos/kad/1.0.0, which this version does not read: list them under mixnode",
        &[("mix.profile", "logos-delivery-2026-08"), ("mix.delay", "50ms")],
    ),
    wire(
        "mix-2026-07",
        "nodes with the mix library of July 2026; likewise",
        &[("mix.profile", "mix-2026-07"), ("mix.delay", "50ms")],
    ),
    wire(
        "mix-2026-09",
        "nodes with the mix library of August 2026 or later; likewise",
        &[("mix.profile", "mix-2026-09"), ("mix.delay", "50ms")],
    ),
    Preset {
        name: "twn",
        also: &[],
        doc: "The Waku Network; messages there need RLN proofs, which this version does not make, so it is for nodes without the \
              relay role. Which wire profile its mix nodes run is not published: write mix.profile",
        values: &[
            ("rest-allow-insecure", "true"),
            ("cluster-id", "1"),
            ("num-shards-in-network", "8"),
            ("discv5-discovery", "true"),
            (
                "entry-node",
                "enrtree://AOGYWMBYOUIMOENHXCHILPKY3ZRFEULMFI4DOM442QSZ73TT2A7VI@test.waku.nodes.status.im,\
                 /dns4/node-01.ac-cn-hongkong-c.waku.test.status.im/tcp/30303/p2p/16Uiu2HAkzHaTP5JsUwfR9NR8Rj9HC24puS6ocaU8wze4QrXr9iXp,\
                 /dns4/node-01.do-ams3.waku.test.status.im/tcp/30303/p2p/16Uiu2HAkykgaECHswi3YKJ5dMLbq2kPVCo89fcyTd38UcQD6ej5W,\
                 /dns4/node-01.gc-us-central1-a.waku.test.status.im/tcp/30303/p2p/16Uiu2HAmDCp8XJ9z1ev18zuv8NHekAsjNyezAvmMfFEJkiharitG",
            ),
            (
                "discv5-bootstrap-node",
                "enr:-QESuED0qW1BCmF-oH_ARGPr97Nv767bl_43uoy70vrbah3EaCAdK3Q0iRQ6wkSTTpdrg_dU_NC2ydO8leSlRpBX4pxiAYJpZIJ2NIJpcIRA4VDAim11bHRpYWRkcnO4XAArNiZub2RlLTAxLmRvLWFtczMud2FrdS5zYW5kYm94LnN0YXR1cy5pbQZ2XwAtNiZub2RlLTAxLmRvLWFtczMud2FrdS5zYW5kYm94LnN0YXR1cy5pbQYfQN4DgnJzkwABCAAAAAEAAgADAAQABQAGAAeJc2VjcDI1NmsxoQOTd-h5owwj-cx7xrmbvQKU8CV3Fomfdvcv1MBc-67T5oN0Y3CCdl-DdWRwgiMohXdha3UyDw,\
                 enr:-QEkuED9X80QF_jcN9gA2ZRhhmwVEeJnsg_Hyg7IFCTYnZD0BDI7a8HArE61NhJZFwygpHCWkgwSt2vqiABXkBxzIqZBAYJpZIJ2NIJpcIQiQlleim11bHRpYWRkcnO4bgA0Ni9ub2RlLTAxLmdjLXVzLWNlbnRyYWwxLWEud2FrdS5zYW5kYm94LnN0YXR1cy5pbQZ2XwA2Ni9ub2RlLTAxLmdjLXVzLWNlbnRyYWwxLWEud2FrdS5zYW5kYm94LnN0YXR1cy5pbQYfQN4DgnJzkwABCAAAAAEAAgADAAQABQAGAAeJc2VjcDI1NmsxoQPFAS8zz2cg1QQhxMaK8CzkGQ5wdHvPJcrgLzJGOiHpwYN0Y3CCdl-DdWRwgiMohXdha3UyDw,\
                 enr:-QEkuEBfEzJm_kigJ2HoSS_RBFJYhKHocGdkhhBr6jSUAWjLdFPp6Pj1l4yiTQp7TGHyu1kC6FyaU573VN8klLsEm-XuAYJpZIJ2NIJpcIQI2SVcim11bHRpYWRkcnO4bgA0Ni9ub2RlLTAxLmFjLWNuLWhvbmdrb25nLWMud2FrdS5zYW5kYm94LnN0YXR1cy5pbQZ2XwA2Ni9ub2RlLTAxLmFjLWNuLWhvbmdrb25nLWMud2FrdS5zYW5kYm94LnN0YXR1cy5pbQYfQN4DgnJzkwABCAAAAAEAAgADAAQABQAGAAeJc2VjcDI1NmsxoQOwsS69tgD7u1K50r5-qG5hweuTwa0W26aYPnvivpNlrYN0Y3CCdl-DdWRwgiMohXdha3UyDw",
            ),
        ],
        has_proofs: true,
    },
    Preset {
        name: "logos.dev",
        also: &["logosdev"],
        doc: "the Logos development network, with its six mix nodes. One operator runs them, so a path over them alone hides nothing \
              from it. Which wire profile they run is not published; from September 2026 on it is most likely mix-2026-09",
        values: &[
            ("rest-allow-insecure", "true"),
            ("cluster-id", "3"),
            ("num-shards-in-network", "8"),
            ("enable-kad-discovery", "true"),
            ("discv5-discovery", "true"),
            (
                "entry-node",
                "/dns4/delivery-01.do-ams3.logos.dev.status.im/tcp/30303/p2p/16Uiu2HAmTUbnxLGT9JvV6mu9oPyDjqHK4Phs1VDJNUgESgNSkuby,\
                 /dns4/delivery-02.do-ams3.logos.dev.status.im/tcp/30303/p2p/16Uiu2HAmMK7PYygBtKUQ8EHp7EfaD3bCEsJrkFooK8RQ2PVpJprH,\
                 /dns4/delivery-01.gc-us-central1-a.logos.dev.status.im/tcp/30303/p2p/16Uiu2HAm4S1JYkuzDKLKQvwgAhZKs9otxXqt8SCGtB4hoJP1S397,\
                 /dns4/delivery-02.gc-us-central1-a.logos.dev.status.im/tcp/30303/p2p/16Uiu2HAm8Y9kgBNtjxvCnf1X6gnZJW5EGE4UwwCL3CCm55TwqBiH,\
                 /dns4/delivery-01.ac-cn-hongkong-c.logos.dev.status.im/tcp/30303/p2p/16Uiu2HAm8YokiNun9BkeA1ZRmhLbtNUvcwRr64F69tYj9fkGyuEP,\
                 /dns4/delivery-02.ac-cn-hongkong-c.logos.dev.status.im/tcp/30303/p2p/16Uiu2HAkvwhGHKNry6LACrB8TmEFoCJKEX29XR5dDUzk3UT3UNSE",
            ),
            (
                "mixnode",
                "/dns4/delivery-01.do-ams3.logos.dev.status.im/tcp/30303/p2p/16Uiu2HAmTUbnxLGT9JvV6mu9oPyDjqHK4Phs1VDJNUgESgNSkuby:c288a425a6209c74ec07e2e8b6816e9b6995d1cd59b1ab482317c3dfb3ba200f,\
                 /dns4/delivery-02.do-ams3.logos.dev.status.im/tcp/30303/p2p/16Uiu2HAmMK7PYygBtKUQ8EHp7EfaD3bCEsJrkFooK8RQ2PVpJprH:9d92279057940efd2e5e98c8922c079c24e45c083b00360c8dc6a298b1661716,\
                 /dns4/delivery-01.gc-us-central1-a.logos.dev.status.im/tcp/30303/p2p/16Uiu2HAm4S1JYkuzDKLKQvwgAhZKs9otxXqt8SCGtB4hoJP1S397:fe60e95c50f70db9015525064e1fff962ccc982dde480f8faae30262710ece58,\
                 /dns4/delivery-02.gc-us-central1-a.logos.dev.status.im/tcp/30303/p2p/16Uiu2HAm8Y9kgBNtjxvCnf1X6gnZJW5EGE4UwwCL3CCm55TwqBiH:312335324231ba7963c0c7524e042d1beac2927dbf810513a7fc8d901ab4e812,\
                 /dns4/delivery-01.ac-cn-hongkong-c.logos.dev.status.im/tcp/30303/p2p/16Uiu2HAm8YokiNun9BkeA1ZRmhLbtNUvcwRr64F69tYj9fkGyuEP:7d683767f23f5132a79c70587fec877575460122ebd459bb29c887b7b7a32110,\
                 /dns4/delivery-02.ac-cn-hongkong-c.logos.dev.status.im/tcp/30303/p2p/16Uiu2HAkvwhGHKNry6LACrB8TmEFoCJKEX29XR5dDUzk3UT3UNSE:0894b2852890d244e045f2ff5875e03a6b18f233ccd2e5297f62f7546e93884d",
            ),
        ],
        has_proofs: false,
    },
    Preset {
        name: "logos.test",
        also: &["logostest"],
        doc: "the Logos test network; as logos.dev. Since October 2026 its nodes are said to pass on nothing without an RLN proof",
        values: &[
            ("rest-allow-insecure", "true"),
            ("cluster-id", "2"),
            ("num-shards-in-network", "8"),
            ("enable-kad-discovery", "true"),
            ("discv5-discovery", "true"),
            (
                "entry-node",
                "/dns4/node-01.do-ams3.logos.test.status.im/tcp/30303/p2p/16Uiu2HAmQ9X2xDfPG3uL77V9piYDhjq14JhKCtcmNYsTMKNqrKCj,\
                 /dns4/node-02.do-ams3.logos.test.status.im/tcp/30303/p2p/16Uiu2HAmB8NYprrfQrgWVzsJtYWkfjsXbmJEGNMG6othXsQ53BwG,\
                 /dns4/node-01.gc-us-central1-a.logos.test.status.im/tcp/30303/p2p/16Uiu2HAmF8WtwGPmeGHgYAX2277jHgy5cW9F7zsB8EqUjBZQAZQ3,\
                 /dns4/node-02.gc-us-central1-a.logos.test.status.im/tcp/30303/p2p/16Uiu2HAmUuXhUW9bdJpzN1kfDziFiUZo4bszTk66cvr7uuyCHXR7,\
                 /dns4/node-01.ac-cn-hongkong-c.logos.test.status.im/tcp/30303/p2p/16Uiu2HAmL3oU95jh1BZHozn3uNhx8HEneirgr8M1jEAapzXGDqRF,\
                 /dns4/node-02.ac-cn-hongkong-c.logos.test.status.im/tcp/30303/p2p/16Uiu2HAm28CoBZjpyxsanC8tQpbvZ7bZJnVYuB1EgFzb571qpWsV",
            ),
            (
                "mixnode",
                "/dns4/node-01.do-ams3.logos.test.status.im/tcp/30303/p2p/16Uiu2HAmQ9X2xDfPG3uL77V9piYDhjq14JhKCtcmNYsTMKNqrKCj:f4451493c120b6ea29fe81041d86c73cc5cf51f3ab0245b91bac6415ed73f414,\
                 /dns4/node-02.do-ams3.logos.test.status.im/tcp/30303/p2p/16Uiu2HAmB8NYprrfQrgWVzsJtYWkfjsXbmJEGNMG6othXsQ53BwG:a7213a0c15f148f5845998be7191834fdabf0cd384f93b29fbe9f426215a923c,\
                 /dns4/node-01.gc-us-central1-a.logos.test.status.im/tcp/30303/p2p/16Uiu2HAmF8WtwGPmeGHgYAX2277jHgy5cW9F7zsB8EqUjBZQAZQ3:77f7b2fff4e3e6f39c9cfe8cc6f944e67235b9501a80b73689ed48fa370f715a,\
                 /dns4/node-02.gc-us-central1-a.logos.test.status.im/tcp/30303/p2p/16Uiu2HAmUuXhUW9bdJpzN1kfDziFiUZo4bszTk66cvr7uuyCHXR7:3e90943b68f0e35a0182f9e369f9fb2f3239949d36e5642a0030794d7cb98314,\
                 /dns4/node-01.ac-cn-hongkong-c.logos.test.status.im/tcp/30303/p2p/16Uiu2HAmL3oU95jh1BZHozn3uNhx8HEneirgr8M1jEAapzXGDqRF:0573cca393d50bca75a34e4fe5d3f9e703c7ef0f8b94af199ff05e9b21c76201,\
                 /dns4/node-02.ac-cn-hongkong-c.logos.test.status.im/tcp/30303/p2p/16Uiu2HAm28CoBZjpyxsanC8tQpbvZ7bZJnVYuB1EgFzb571qpWsV:9b6f8e546762eaaa863778701f1a6f6dca37e7f03e64c9e35307b05018444a17",
            ),
        ],
        has_proofs: false,
    },
    Preset {
        name: "status.prod",
        also: &["statusprod"],
        doc: "the network of Status. Its messages may have 1024KiB, of which this node passes on what fits 150KiB; no mix nodes of it \
              are published",
        values: &[
            ("rest-allow-insecure", "true"),
            ("cluster-id", "16"),
            ("num-shards-in-network", "1"),
            ("discv5-discovery", "true"),
            ("max-msg-size", "1024KiB"),
            (
                "entry-node",
                "enrtree://AMOJVZX4V6EXP7NTJPMAYJYST2QP6AJXYW76IU6VGJS7UVSNDYZG4@boot.prod.status.nodes.status.im,\
                 /dns4/boot-01.do-ams3.status.prod.status.im/tcp/30303/p2p/16Uiu2HAmAR24Mbb6VuzoyUiGx42UenDkshENVDj4qnmmbabLvo31,\
                 /dns4/boot-01.gc-us-central1-a.status.prod.status.im/tcp/30303/p2p/16Uiu2HAm8mUZ18tBWPXDQsaF7PbCKYA35z7WB2xNZH2EVq1qS8LJ,\
                 /dns4/boot-01.ac-cn-hongkong-c.status.prod.status.im/tcp/30303/p2p/16Uiu2HAmGwcE8v7gmJNEWFtZtojYpPMTHy2jBLL6xRk33qgDxFWX",
            ),
        ],
        has_proofs: false,
    },
    Preset {
        name: "local",
        also: &[],
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
        has_proofs: false,
    },
];

/// What the `preset` key accepts.
pub(crate) const FORM: &str = "a preset: nwaku-2025-12, logos-delivery-2026-08, mix-2026-07, mix-2026-09, twn, logos.dev, \
                               logos.test, status.prod, local";

impl Preset {
    /// Whether it says which network the node is in, not only how packets look.
    pub(crate) fn is_network(&self) -> bool {
        self.values.iter().any(|(key, _)| *key == "cluster-id")
    }

    /// Whether it is the network of this cluster.
    pub(crate) fn is_of(&self, cluster: u16) -> bool {
        self.values.contains(&("cluster-id", &cluster.to_string()))
    }
}

/// The preset of a name, in any case.
pub(crate) fn find(name: &str) -> Option<&'static Preset> {
    let is_called = |own: &&str| own.eq_ignore_ascii_case(name.trim());
    PRESETS.iter().find(|preset| is_called(&preset.name) || preset.also.iter().any(is_called))
}

/// The own name of the preset of a name.
pub(crate) fn read(name: &str) -> Result<String, ValueError> {
    find(name).map(|preset| preset.name.to_owned()).ok_or_else(|| ValueError::new(format!("`{name}` is not {FORM}")))
}

/// The preset that `wakunode2` takes from the number of a cluster where none is named: that of cluster 1. It does the same for
/// cluster 2, with the first nodes of another cluster (`spec/waku.md §7`), which is not followed.
pub(crate) fn of_cluster(cluster: &str, named: Option<&Preset>) -> Option<&'static Preset> {
    let is_free = named.is_none_or(|preset| !preset.is_network());
    (is_free && cluster.trim() == "1").then(|| find("twn")).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_found_by_each_of_its_names_and_named_by_the_form() {
        for preset in PRESETS {
            for name in [preset.name].iter().chain(preset.also) {
                assert_eq!(read(&name.to_uppercase()).as_deref(), Ok(preset.name));
            }
        }
        let names: Vec<&str> = PRESETS.iter().map(|preset| preset.name).collect();
        assert_eq!(FORM, format!("a preset: {}", names.join(", ")));
    }
}
