//! The second pass: what values mean together. It reports everything that it finds, like the first.

mod options;
mod tls;

use std::time::Duration;

use libp2p_identity::{KeyType, Keypair, PeerId};
use wakumix_keyring::private;
use wakumix_mix::{MIN_POOL, exit::DEFAULT_MAX_ANSWERS};
use wakumix_role_api::{ConfigProblem, Mixing, RoleFactory, RoleName, config::Settings, sender};
use wakumix_sphinx::{FormatKind, PrivateKey, WireFormat};
use wakumix_waku::record::Capabilities;

use super::{
    Config,
    addresses::has_port_zero,
    kind,
    layers::Judge,
    load::{ALLOW_DIRECT, allows_direct},
    nat::Nat,
    networks, parts,
    problem::{ConfigSource, Problem},
};
use crate::{
    keys::{self, NodeKeyError, Secret},
    roles::{Roles, RolesError},
    token::Token,
};

/// How long a record that announces no next key may stand for a node after its key has changed: a registrar of service
/// discovery keeps an advertisement for 15 minutes, tables of discv5 hear of a newer record with the next ping within five.
const OLD_RECORDS: Duration = Duration::from_secs(15 * 60);

/// The secrets of a node. None shows in `Debug` output.
#[derive(Clone, Debug)]
pub struct Keys {
    /// The libp2p identity.
    pub node: Keypair,
    /// The mix key that the operator has set; without one the node makes its own.
    pub mix: Option<PrivateKey>,
    /// What REST asks for before it lets a program administrate or push directly, if the operator has set it.
    pub token: Option<Token>,
}

impl Keys {
    /// The node's peer id.
    pub fn peer(&self) -> PeerId {
        self.node.public().to_peer_id()
    }
}

/// Judges a configuration whose single values are good, and reads its keys. `None` when a key cannot be had; the reason
/// is then among the problems.
pub(super) fn check(config: &Config, settings: &Settings<'_>, roles: &Roles, judge: &mut Judge) -> Option<Keys> {
    let mut review = Review { config, settings, roles, judge };
    let running = review.roles();
    review.options();
    review.ports();
    review.network();
    review.websocket_certificate();
    review.http_certificate();
    review.shards();
    review.discovery();
    review.inline_secrets();
    review.directories();
    let node = review.identity();
    let mix = review.mix_key();
    let token = review.rest(settings);
    if config.mixes() {
        review.wire();
        review.public_network();
        review.unwanted_exit(&running, settings);
        review.closed_network(settings);
        if let Some(node) = &node {
            review.mix_identity(node);
        }
    }
    if config.mixing.sends {
        review.sender(node.as_ref().map(|node| node.public().to_peer_id()));
        review.reply_blocks(settings);
    }
    review.parts(&running, settings);
    Some(Keys { node: node?, mix: mix?, token: token? })
}

struct Review<'a> {
    config: &'a Config,
    settings: &'a Settings<'a>,
    roles: &'a Roles,
    judge: &'a mut Judge,
}

impl Review<'_> {
    /// Reports unless one of the keys has been reported already: what follows from a bad value is noise.
    fn problem(&mut self, keys: &[&'static str], message: String, help: impl Into<String>) {
        if !keys.iter().any(|key| self.judge.bad.contains(key)) {
            self.judge.problems.push(Problem::new(message, help));
        }
    }

    fn warn(&mut self, message: impl Into<String>) {
        self.judge.warnings.push(message.into());
    }

    /// Whether the operator has written a key, and something else than its default: a file with every default says nothing.
    fn is_written(&self, key: &str) -> bool {
        let written = matches!(
            self.judge.sources.get(key),
            Some(ConfigSource::File(_) | ConfigSource::Environment(_) | ConfigSource::Flag(_))
        );
        let default = self.judge.schema.find(key).and_then(|key| kind::read(key, &key.default.as_deref()?.into()).ok());
        written && default.is_none_or(|default| self.settings.values.get(key) != Some(&kind::texts(&default)))
    }

    /// A key with its source, as messages name it.
    fn named(&self, key: &str) -> String {
        match self.judge.place_of(key) {
            None => format!("`{key}` (default)"),
            Some(place) => format!("`{key}` in {place}"),
        }
    }

    /// The roles that the node would run, those that are needed besides the named ones included.
    fn roles(&mut self) -> Vec<&'static dyn RoleFactory> {
        let config = self.config;
        if config.roles.is_empty() {
            let message = format!("{} turns every role off", self.named("roles"));
            let names: Vec<_> = self.roles.names().into_iter().map(RoleName::as_str).collect();
            self.problem(&["roles"], message, format!("name at least one of {}", names.join(", ")));
        }
        for role in config.roles.iter().filter(|role| self.roles.find(**role).is_none()) {
            let message = format!("{} names {role}, which is not in this build", self.named("roles"));
            self.problem(&["roles"], message, format!("build with the feature {role}, or leave it out"));
        }
        match self.roles.in_order(&config.roles) {
            Ok(running) => running,
            Err(RolesError { problem }) => {
                self.problem(&["roles"], problem, "build a program that has both, or leave it out");
                Vec::new()
            }
        }
    }

    fn ports(&mut self) {
        let ports = self.config.ports();
        let written = [
            ("tcp-port", self.config.tcp_port),
            ("quic-port", self.config.quic_port),
            ("websocket-port", self.config.websocket_port),
            ("websocket-secure-port", self.config.websocket_secure_port.unwrap_or_default()),
            ("discv5-udp-port", self.config.discv5_udp_port),
            ("rest-port", self.config.rest_port),
            ("metrics-server-port", self.config.metrics_server_port),
        ];
        for (key, port) in written {
            let used = ports.iter().any(|used| used.key == key);
            if used && self.config.shifted(port).is_none() {
                let message = format!(
                    "{} is {port}, and {} adds {}: there is no port above 65535",
                    self.named(key),
                    self.named("ports-shift"),
                    self.config.ports_shift
                );
                self.problem(&[key, "ports-shift"], message, "lower one of the two");
                return;
            }
        }
        for (index, first) in ports.iter().enumerate() {
            for second in ports[index + 1..].iter().filter(|second| first.clashes(second)) {
                let message =
                    format!("{} and {} both mean port {}", self.named(first.key), self.named(second.key), first.port);
                let help = format!("give {} another port", second.key);
                self.problem(&[first.key, second.key], message, help);
            }
        }
    }

    fn network(&mut self) {
        if self.config.nat == Nat::Any {
            let nat = self.named("nat");
            self.warn(format!("{nat} is any, but this node maps no ports; behind a router write extip:<IP address>"));
        }
        if self.config.ext_multiaddr_only && self.config.ext_multiaddr.is_empty() {
            let message =
                format!("{} announces nothing but `ext-multiaddr`, which is empty", self.named("ext-multiaddr-only"));
            self.problem(
                &["ext-multiaddr-only", "ext-multiaddr"],
                message,
                "add an ext-multiaddr, or remove ext-multiaddr-only",
            );
        }
    }

    /// Keys in places that others can see.
    fn inline_secrets(&mut self) {
        for key in ["nodekey", "mixkey"] {
            let exposed = match self.judge.sources.get(key) {
                Some(ConfigSource::Flag(_)) => "every user of this machine can read it in the process list".to_owned(),
                Some(ConfigSource::Environment(name)) => format!("{name} is passed on to child processes"),
                Some(ConfigSource::File(path)) => match keys::mode_open_to_others(path) {
                    Some(mode) => format!("others can read file {} (mode {mode:04o})", path.display()),
                    None => continue,
                },
                _ => continue,
            };
            self.warn(format!("`{key}` is a secret, and {exposed}; use {key}-file"));
        }
    }

    /// Where the node keeps what outlives it. What cannot be written fails here, not hours later.
    fn directories(&mut self) {
        let config = self.config;
        let keys = config.keys.directory.as_deref().filter(|_| config.mixes()).map(private::check_private_directory);
        let storage = config.local_storage_path.as_deref().map(private::check_directory);
        for (key, checked) in [("keys.directory", keys), ("local-storage-path", storage)] {
            if let Some(Err(error)) = checked {
                let message = format!("{}: {error}", self.named(key));
                self.problem(&[key], message, error.help());
            }
        }
    }

    fn identity(&mut self) -> Option<Keypair> {
        let config = self.config;
        let read = self.secret("nodekey", "nodekey-file", config.nodekey_file.as_deref());
        match read? {
            Some((secret, key)) => self.parsed(key, keys::parse_node_key(secret.expose())),
            None => self.parsed("nodekey", keys::generate_node_key()),
        }
    }

    /// The outer `None` says that there is a problem, the inner one that the operator has set no mix key.
    fn mix_key(&mut self) -> Option<Option<PrivateKey>> {
        let config = self.config;
        let read = self.secret("mixkey", "mixkey-file", config.mixkey_file.as_deref());
        if !config.mixes() {
            if let Some(key) = ["mixkey", "mixkey-file"].into_iter().find(|key| self.judge.sources.contains_key(key)) {
                let key = self.named(key);
                self.warn(format!("{key} has no effect: no role of this node mixes"));
            }
            return read.map(|_| None);
        }
        match read? {
            Some((secret, key)) => {
                if config.keys.directory.is_none() && config.forwards() {
                    let key = self.named(key);
                    self.warn(format!(
                        "{key} is used again at each start, and what was recorded can then be replayed to it: set \
                         keys.directory, which keeps its replay tags"
                    ));
                }
                self.parsed(key, keys::parse_mix_key(secret.expose())).map(Some)
            }
            None => {
                if config.keys.directory.is_none() && config.forwards() {
                    self.warn(
                        "no place for mix keys is set: each start makes a new one, and other nodes must learn it again; \
                         set keys.directory",
                    );
                }
                self.overlap();
                Some(None)
            }
        }
    }

    /// Who may use REST. The outer `None` says that there is a problem, the inner one that no token is set.
    fn rest(&mut self, settings: &Settings<'_>) -> Option<Option<Token>> {
        let config = self.config;
        if !config.rest {
            for key in ["rest-allow-host", "rest-allow-origin", "rest-token-file"] {
                if self.is_written(key) {
                    let key = self.named(key);
                    self.warn(format!("{key} has no effect: rest is off"));
                }
            }
            return Some(None);
        }
        if !allows_direct(settings) && !config.has_role(sender::NAME) {
            let key = self.named(ALLOW_DIRECT);
            self.warn(format!(
                "{key} is false, and the sender role is off: POST /lightpush/v3/message pushes nothing; add sender to roles"
            ));
        }
        self.open_network();
        let key = "rest-token-file";
        let Some(path) = &config.rest_token_file else {
            self.open_admin();
            return Some(None);
        };
        let read = Token::read(path).map_err(|error| {
            let message = format!("{}: {error}", self.named(key));
            self.problem(&[key], message, error.help());
        });
        read.map(Some).ok()
    }

    /// What anybody who reaches REST could do with the node.
    fn open_admin(&mut self) {
        let config = self.config;
        if config.rest_admin && !config.rest_address.is_loopback() && config.rest_tls_client_ca_path.is_none() {
            let message = format!(
                "{} opens /admin on {}, and no token is asked for: whoever reaches it administrates this node",
                self.named("rest-admin"),
                config.rest_address
            );
            let help = "set rest-token-file, or rest-tls-client-ca-path, or rest-address = \"127.0.0.1\", or leave rest-admin out";
            self.problem(&["rest-admin", "rest-address", "rest-token-file"], message, help);
        }
    }

    /// Who reads no descriptor learns of a new key from the next record alone, and uses the earlier one until then.
    fn overlap(&mut self) {
        let config = self.config;
        let is_found_by_records = config.uses_discv5() || config.uses_kad();
        if config.forwards() && is_found_by_records && config.keys.overlap.as_duration() < OLD_RECORDS {
            let (overlap, key) = (config.keys.overlap, self.named("keys.overlap"));
            self.warn(format!(
                "{key} is {overlap}: nodes that read no descriptors use the earlier mix key for up to {} minutes, and what \
                 they send with it after the overlap is lost; set 15m or more",
                OLD_RECORDS.as_secs() / 60
            ));
        }
    }

    /// A secret written in place or in a file, and the key that said so. The outer `None` says that there is a problem. The text
    /// goes with the answer: nobody keeps it.
    fn secret(
        &mut self,
        inline: &'static str,
        by_file: &'static str,
        path: Option<&std::path::Path>,
    ) -> Option<Option<(Secret, &'static str)>> {
        if self.judge.bad.contains(inline) {
            return None;
        }
        match (self.judge.secrets.remove(inline), path) {
            (Some(_), Some(_)) => {
                let message = format!("{} and {} contradict", self.named(inline), self.named(by_file));
                self.problem(&[inline, by_file], message, format!("keep {by_file} only"));
                None
            }
            (Some(secret), None) => Some(Some((secret, inline))),
            (None, Some(path)) => {
                let secret = self.parsed(by_file, keys::read_key_file(path))?;
                Some(Some((secret, by_file)))
            }
            (None, None) => Some(None),
        }
    }

    fn parsed<T>(&mut self, key: &'static str, result: Result<T, NodeKeyError>) -> Option<T> {
        result
            .map_err(|error| {
                let message = format!("{}: {error}", self.named(key));
                self.problem(&[key], message, error.help());
            })
            .ok()
    }

    /// What a mix role needs of the identity and, where packets come that this node has not asked for, of the addresses
    /// (`spec/mix-wire.md §5.1`).
    fn mix_identity(&mut self, node: &Keypair) {
        let key = if self.judge.sources.contains_key("nodekey") { "nodekey" } else { "nodekey-file" };
        if node.key_type() != KeyType::Secp256k1 {
            let kind = format!("{:?}", node.key_type()).to_lowercase();
            let message = format!(
                "{} holds an {kind} identity, but the roles {} need secp256k1: a packet header carries no other peer id",
                self.named(key),
                self.mix_roles()
            );
            self.problem(&[key, "roles"], message, "make an identity with `wakumix key new --kind node`");
            return;
        }
        if !self.config.forwards() {
            // It takes replies over connections that it has opened itself.
            return;
        }
        let announced = self.config.announced_addresses();
        let peer = node.public().to_peer_id();
        if announced.is_empty() {
            self.warn(
                "listen-address is not a particular address and neither nat nor ext-multiaddr names one: the hop \
                 address of this node is guessed from its interfaces; set nat = \"extip:<IP address>\"",
            );
        } else if self.config.hop_address(peer).is_none() && !announced.iter().all(has_port_zero) {
            self.no_hop_address();
        }
    }

    fn no_hop_address(&mut self) {
        let key = if !self.config.ext_multiaddr.is_empty() {
            "ext-multiaddr"
        } else if self.config.dns4_domain_name.is_some() {
            "dns4-domain-name"
        } else if self.config.nat.external().is_some() {
            "nat"
        } else {
            "listen-address"
        };
        let message = format!(
            "{} gives no address that a packet header can carry, as the roles {} need",
            self.named(key),
            self.mix_roles()
        );
        self.problem(
            &[key, "roles", "tcp-port", "quic-port"],
            message,
            "announce IPv4 with TCP or QUIC, such as nat = \"extip:192.0.2.1\" or ext-multiaddr = [\"/ip4/192.0.2.1/tcp/60000\"]",
        );
    }

    fn mix_roles(&self) -> String {
        let names: Vec<&str> =
            self.config.roles.iter().filter(|role| self.roles.mixes(**role)).map(|role| role.as_str()).collect();
        names.join(", ")
    }

    fn wire(&mut self) {
        let profiles = || self.config.mix.profile.iter();
        let of_wakunode2: Vec<_> = profiles().filter(|wire| wire.kind() == FormatKind::Mix).collect();
        if profiles().next().is_none() {
            self.problem(
                &["mix.profile"],
                "mix.profile names no wire profile".to_owned(),
                "name one, such as lioness/pad",
            );
        }
        if let [first, second, ..] = of_wakunode2[..] {
            let both = format!("mix.profile names {first} and {second}, which cannot be told apart on the wire");
            self.problem(&["mix.profile"], both, "keep one of them");
        }
        let proof = of_wakunode2.iter().find_map(|wire| match wire {
            WireFormat::Mix(profile) => (profile.proof_len > 0).then_some(profile.proof_len),
            WireFormat::SphinxPacket => None,
        });
        if let Some(proof) = proof {
            let profile = self.named("mix.profile");
            self.warn(format!(
                "{profile} has room for a proof of {proof} bytes, and this version makes none: nodes that check \
                 proofs refuse its packets"
            ));
        }
    }

    /// Senders of nwaku take every node of the pool that serves lightpush for an exit (`spec/waku.md §5.4`).
    fn unwanted_exit(&mut self, running: &[&dyn RoleFactory], settings: &Settings<'_>) {
        let serves_lightpush = || {
            let configured = running.iter().filter_map(|role| role.configure(settings).ok());
            configured.map(|role| role.advertises().capabilities).any(|own| own.contains(Capabilities::LIGHTPUSH))
        };
        let Mixing { forwards, exits, .. } = self.config.mixing;
        if forwards && !exits && serves_lightpush() {
            let roles = self.named("roles");
            self.warn(format!(
                "{roles} makes this node a mixer that serves lightpush but is no exit: senders of nwaku take it for \
                 one and lose their requests; add exit to roles, or set relay.lightpush = false"
            ));
        }
    }

    /// A closed network that this node is in and does not serve.
    fn closed_network(&mut self, settings: &Settings<'_>) {
        if let Some(warning) = networks::warning(self.config, settings.values, &self.config.announced_addresses()) {
            self.warn(warning);
        }
    }

    /// What an exit discards costs the sender payload and protects no answer.
    fn reply_blocks(&mut self, settings: &Settings<'_>) {
        let number = |key: &str| settings.values.get(key)?.first()?.parse::<usize>().ok();
        let most = number("exit.max-answers").unwrap_or(DEFAULT_MAX_ANSWERS);
        if let Some(surbs) = number("sender.surbs").filter(|surbs| *surbs > most) {
            let message = format!(
                "{} is {surbs}, but exits answer a request through {most} reply blocks, by {}",
                self.named("sender.surbs"),
                self.named("exit.max-answers")
            );
            let help = format!(
                "set sender.surbs to {most} or less; where every exit of the network answers through more, set \
                 exit.max-answers here as there"
            );
            self.problem(&["sender.surbs", "exit.max-answers"], message, help);
        }
    }

    /// What a sender is told of the network; without any of it, it depends on what discovery finds.
    fn sender(&mut self, me: Option<PeerId>) {
        let config = self.config;
        if config.finds_nodes() {
            return;
        }
        let pool = config.mixnode.iter().filter(|node| Some(node.peer()) != me).count();
        if pool < MIN_POOL {
            let mixnode = self.named("mixnode");
            self.warn(format!(
                "{mixnode} names {pool} other nodes, a path needs a pool of {MIN_POOL}, and no kind of discovery has \
                 anything to begin from: requests over the mixnet fail; add mix nodes, or an entry-node"
            ));
        }
        if config.lightpushnode.is_empty() {
            self.warn("no lightpushnode is set: each request of the sender must name the mix node that serves it");
        }
    }

    /// Settings of kinds of discovery that are off.
    fn discovery(&mut self) {
        let config = self.config;
        let kad = (!config.uses_kad()).then_some("enable-kad-discovery is off");
        let dns_lists = (config.dns_discovery == Some(false)).then_some("dns-discovery is off");
        let dns = config.dns().is_none().then_some("no DNS list is read");
        let discv5 = (!config.uses_discv5()).then_some("discv5-discovery is off");
        let exchange = (!config.peer_exchange).then_some("peer-exchange is off");
        let idle = [
            ("kad-bootstrap-node", kad),
            ("kad-random-lookup-interval", kad),
            ("kad-service-lookup-interval", kad),
            ("dns-discovery-url", dns_lists),
            ("dns-addrs-name-server", dns),
            ("discv5-bootstrap-node", discv5),
            ("discv5-enr-auto-update", discv5),
            ("peer-exchange-node", exchange),
        ];
        for (key, reason) in idle {
            if let Some(reason) = reason.filter(|_| self.is_written(key)) {
                let key = self.named(key);
                self.warn(format!("{key} has no effect: {reason}"));
            }
        }
        self.bootstrap_families();
        if config.dns_discovery == Some(true) && config.dns_discovery_url.is_empty() {
            let dns = self.named("dns-discovery");
            self.warn(format!("{dns} reads no list: dns-discovery-url is empty"));
        }
    }

    /// What the parts of the node find wrong with what they would be given.
    fn parts(&mut self, running: &[&dyn RoleFactory], settings: &Settings<'_>) {
        for ConfigProblem { field: key, problem, help } in parts::problems(self.config, running, settings) {
            let message = format!("{} {problem}", self.named(key));
            self.problem(&[key], message, help);
        }
    }
}
