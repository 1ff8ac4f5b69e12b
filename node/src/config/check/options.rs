//! What is written under names of nwaku that are no keys here, and which shards follow.

use std::num::NonZeroU16;

use wakumix_discovery::parse_bootstrap;
use wakumix_role_api::relay;

use super::Review;
use crate::config::{
    Problem,
    presets::Preset,
    problem::ConfigSource,
    wakunode2::{self, Fate, OptionRefusal, RLN, RLN_INSTEAD, RLN_REASON, Spares},
};

impl Review<'_> {
    /// Options that ask for what this node lacks.
    pub(super) fn options(&mut self) {
        let written: Vec<_> = self.judge.options.iter().map(|(name, value)| (*name, value.clone())).collect();
        let mut is_refused_for_proofs = false;
        for (name, (values, source)) in written {
            let Some(option) = wakunode2::option(name) else { continue };
            let named = format!("`{name}` in {source}");
            let is_on = values.iter().any(|value| !["", "false"].contains(&&*value.trim().to_ascii_lowercase()));
            match &option.fate {
                Fate::Refused(refusal) => {
                    let is_refused = !values.iter().all(|value| refusal.permits(value));
                    is_refused_for_proofs |= is_refused && name == RLN;
                    if is_refused {
                        self.refuse(&named, refusal);
                    }
                }
                Fate::NotServed(reason) if is_on => self.warn(format!("{named} has no effect: {reason}")),
                Fate::By(key) if is_on && !self.is_written(key) => {
                    let message = format!("{named} keeps what the node learns, and no place is set for it");
                    self.problem(&[key], message, format!("set {key}"));
                }
                Fate::NotServed(_) | Fate::By(_) | Fate::Ignored(_) | Fate::With(_) => {}
            }
        }
        if !is_refused_for_proofs {
            self.network_of_proofs();
        }
    }

    fn refuse(&mut self, named: &str, refusal: &OptionRefusal) {
        match refusal.spares {
            Spares::WithoutRelay if !self.config.has_role(relay::NAME) => {}
            Spares::OnOneMachine if self.judge.is_on_one_machine => {
                self.warn(format!("{named} has no effect: {}", refusal.reason));
            }
            Spares::Nobody | Spares::WithoutRelay | Spares::OnOneMachine => {
                let message = format!("{named} cannot be done: {}", refusal.reason);
                self.judge.problems.push(Problem::new(message, refusal.instead));
            }
        }
    }

    /// A network where every message needs a proof, unless the operator wants to relay there without.
    fn network_of_proofs(&mut self) {
        let preset = self.judge.presets.iter().find(|preset| preset.has_proofs && preset.is_of(self.config.cluster_id));
        let Some(name) = preset.map(|preset| preset.name).filter(|_| self.config.has_role(relay::NAME)) else { return };
        let key = if self.judge.sources.contains_key("preset") { "preset" } else { "cluster-id" };
        let network = format!("{} means the network {name}, whose messages need RLN proofs", self.named(key));
        if self.judge.options.contains_key(RLN) {
            self.warn(format!("{network}: {RLN_REASON}"));
        } else {
            self.problem(&["preset", "cluster-id", "roles"], format!("{network}, and {RLN_REASON}"), RLN_INSTEAD);
        }
    }

    /// What a preset of a public network leaves open: the wire profile of its mix nodes, and who else runs some.
    pub(super) fn public_network(&mut self) {
        let is_public =
            |preset: &&Preset| preset.is_network() && !preset.values.iter().any(|(key, _)| *key == "mix.networks");
        let Some(name) = self.judge.presets.iter().find(|preset| is_public(preset)).map(|preset| preset.name) else {
            return;
        };
        if matches!(self.judge.sources.get("mix.profile"), Some(ConfigSource::Default)) {
            self.warn(format!(
                "the preset {name} does not say which wire profile the mix nodes of the network run, so this node runs {}; where \
                 they run another, its packets are lost without a word: write mix.profile",
                self.config.profiles_text()
            ));
        }
        if self.config.mixing.sends && matches!(self.judge.sources.get("mixnode"), Some(ConfigSource::Preset(_))) {
            self.warn(format!(
                "the mix nodes of the preset {name} are run by one operator: from it a path over them alone hides nothing; add nodes \
                 of others under mixnode, or wait until discovery has found some"
            ));
        }
    }

    /// Content topics without shards to spread over, and a cluster whose number says less here than in `wakunode2`.
    pub(super) fn shards(&mut self) {
        let config = self.config;
        if !config.content_topic.is_empty() && NonZeroU16::new(config.num_shards_in_network).is_none() {
            let message = format!(
                "{} names content topics, whose shards follow from the number of shards, and {} is 0",
                self.named("content-topic"),
                self.named("num-shards-in-network")
            );
            let help = "set num-shards-in-network to that of the network, or name shards with shard";
            self.problem(&["content-topic", "num-shards-in-network"], message, help);
        }
        let is_whole = self.judge.is_on_one_machine || self.judge.presets.iter().any(|preset| preset.is_network());
        if config.cluster_id == 2 && !is_whole && !self.is_written("num-shards-in-network") && !self.is_written("shard")
        {
            let key = self.named("cluster-id");
            self.warn(format!(
                "{key} is 2, which brings neither shards nor first nodes here: for the network logos.test write preset = \
                 \"logos.test\", for logos.dev write preset = \"logos.dev\", which is cluster 3 now"
            ));
        }
    }

    /// Records of nodes whose family of addresses this node has no socket of.
    pub(super) fn bootstrap_families(&mut self) {
        let Some(discv5) = self.config.discovery().discv5 else { return };
        let is_asked = |record: &&String| parse_bootstrap(record).is_ok_and(|read| discv5.reaches(&read.fields));
        let asked = discv5.bootstrap.iter().filter(is_asked).count();
        let others = discv5.bootstrap.len() - asked;
        if others == 0 {
            return;
        }
        let (here, there) = if discv5.listen.is_ipv4() { ("IPv4", "IPv6") } else { ("IPv6", "IPv4") };
        let key = if self.is_written("discv5-bootstrap-node") { "discv5-bootstrap-node" } else { "entry-node" };
        let message = format!(
            "{}: {others} of {} records say {there} alone, so discv5 cannot ask their nodes: {} is {here} alone",
            self.named(key),
            discv5.bootstrap.len(),
            self.named("listen-address")
        );
        if asked > 0 {
            self.warn(message);
        } else {
            let help = "set listen-address = \"::\", which is both, or name records of the other family";
            self.problem(&[key, "listen-address"], message, help);
        }
    }
}
