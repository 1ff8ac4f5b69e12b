//! Every option of nwaku that is neither a key here nor another name of one.

use super::{
    Fate::{By, Ignored, NotServed, Refused, With},
    OptionRefusal, Spares, Wakunode2Option,
};

/// The option that every message of the network carries a proof for.
pub(crate) const RLN: &str = "rln-relay";
/// What a relay without proofs does in a network of proofs.
pub(crate) const RLN_REASON: &str = "this version neither makes nor checks RLN proofs: nodes that check them drop what \
                                                it publishes, and turn from it for what it passes on unchecked";
/// The nearest way there.
pub(crate) const RLN_INSTEAD: &str = "leave the relay out: `relay = false` with `mix = true` mixes there, roles = \
                                                 [\"sender\"] pushes through services that add the proof. Where messages need \
                                                 none, or to relay all the same, set rln-relay = false";

const NO_CLIENT: &str =
    "receive messages with the relay role, GET /relay/v1/messages/{topic}, and leave the option out";

const fn option(name: &'static str, fate: super::Fate) -> Wakunode2Option {
    Wakunode2Option { name, fate }
}

/// Refused on every node.
const fn refused(unless: &'static [&'static str], reason: &'static str, instead: &'static str) -> super::Fate {
    Refused(OptionRefusal { unless, spares: Spares::Nobody, reason, instead })
}

/// Those of `wakunode2` in any release, and of its branches.
pub const OPTIONS: &[Wakunode2Option] = &[
    option("agent-string", Ignored("peers read `wakumix` there, and decide nothing by it")),
    option("discv5-bits-per-hop", Ignored("the tables of discv5 have bounds of their own")),
    option("discv5-bucket-ip-limit", Ignored("the tables of discv5 have bounds of their own")),
    option(
        "discv5-only",
        refused(&["false"], "no role is run then", "name a role; discv5 runs beside it, with discv5-discovery = true"),
    ),
    option("discv5-table-ip-limit", Ignored("the tables of discv5 have bounds of their own")),
    option(
        "entry-layer",
        refused(
            &["kernel"],
            "there are no messaging and channels layers above this node",
            "write kernel, and use POST /lightpush/v3/message",
        ),
    ),
    option(
        "execute",
        refused(&["false"], "it registers an RLN membership, and this version has no RLN", "leave it out"),
    ),
    option(
        "filter",
        NotServed(
            "this version serves no filter; light clients of it find other nodes, since this one does not advertise it",
        ),
    ),
    option("filter-max-criteria", With("filter")),
    option("filter-max-peers-to-serve", With("filter")),
    option("filter-subscription-timeout", With("filter")),
    option("filternode", refused(&[], "this version asks no filter service", NO_CLIENT)),
    option("keep-alive", Ignored("connections are kept alive, as in wakunode2 whatever this option says")),
    option("legacy-store", With("store")),
    option("max-relay-peers", Ignored("`max-connections` is the one bound of connections")),
    option("metrics-logging", Ignored("the numbers are those of `metrics-server`")),
    option("mix-disable-cover-traffic", refused(&["false"], "cover has its own key", "write mixer.cover = \"none\"")),
    option(
        "mix-disable-spam-protection",
        refused(
            &["true"],
            "this version makes no proofs for packets",
            "write true, where the other nodes do without them too; mix.profile keeps room for proofs",
        ),
    ),
    option("mix-user-message-limit", Ignored("it is a bound of proofs, and packets carry none here")),
    option(
        "mode",
        refused(
            &["core", "nomode"],
            "an edge node receives by filter and store, of which this version has no clients",
            "write roles = [\"sender\"] for a node that only sends",
        ),
    ),
    option("peer-persistence", By("local-storage-path")),
    option("peer-store-capacity", Ignored("the table of peers has its own bound")),
    option(
        "protected-shard",
        refused(
            &[],
            "this version checks no signatures of messages, and would pass on what others refuse",
            "leave it out on shards that are open to everybody, and do not join the others",
        ),
    ),
    option("pubsub-topic", refused(&[], "wakunode2 names shards by number since 2024", "write shard = [<number>]")),
    option("relay-client", Ignored("a node that nobody can dial asks relays by itself, see `relay-reservation`")),
    option("relay-peer-exchange", Ignored("it helps others to find peers, who have discovery for that")),
    option("relay-service-ratio", Ignored("`max-connections` is the one bound of connections")),
    option("relay-shard-manager", Ignored("gossipsub keeps the mesh of each shard")),
    option(
        "reliability",
        refused(
            &["false"],
            "this version asks no store whether it has a message",
            "set sender.confirmations = 2, which asks a second service",
        ),
    ),
    option(
        RLN,
        Refused(OptionRefusal {
            unless: &["false"],
            spares: Spares::WithoutRelay,
            reason: RLN_REASON,
            instead: RLN_INSTEAD,
        }),
    ),
    option("rln-relay-chain-id", With(RLN)),
    option("rln-relay-cred-password", With(RLN)),
    option("rln-relay-cred-path", With(RLN)),
    option("rln-relay-dynamic", With(RLN)),
    option("rln-relay-epoch-sec", With(RLN)),
    option("rln-relay-eth-client-address", With(RLN)),
    option("rln-relay-eth-contract-address", With(RLN)),
    option("rln-relay-eth-private-key", With(RLN)),
    option("rln-relay-membership-index", With(RLN)),
    option("rln-relay-user-message-limit", With(RLN)),
    option(
        "store",
        Refused(OptionRefusal {
            unless: &["false"],
            spares: Spares::OnOneMachine,
            reason: "this version keeps no messages, and answers no store queries",
            instead: "set store = false, and run a store node beside this one where its messages are needed later",
        }),
    ),
    option("store-max-num-db-connections", With("store")),
    option("store-message-db-migration", With("store")),
    option("store-message-db-url", With("store")),
    option("store-message-db-vacuum", With("store")),
    option("store-message-retention-policy", With("store")),
    option("store-resume", With("store")),
    option("store-sync", With("store")),
    option("store-sync-interval", With("store")),
    option("store-sync-range", With("store")),
    option("store-sync-relay-jitter", With("store")),
    option("storenode", refused(&[], "this version asks no store", NO_CLIENT)),
    option("topic", refused(&[], "wakunode2 names shards by number since 2024", "write shard = [<number>]")),
];
