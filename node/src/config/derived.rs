//! Values that follow from others where nobody has written them: the shards of a cluster, and what a net on one machine needs.

use std::{net::IpAddr, num::NonZeroU16};

use figment::value::Dict;
use multiaddr::{Multiaddr, Protocol};
use wakumix_role_api::RoleName;
use wakumix_waku::ContentTopic;

use super::{
    kind,
    layers::{self, Judge},
    load::value_of,
    nat::Nat,
    problem::ConfigSource,
};
use crate::roles::Roles;

const SHARD: &str = "shard";

/// What a net on one machine needs, as the preset `local` has it: pool, packets and connections within the machine.
const ONE_MACHINE: &[(&str, &str)] = &[
    ("ip-colocation-limit", "0"),
    ("mix.networks", "127.0.0.0/8"),
    ("host.shared-addresses", "127.0.0.0/8,::1/128"),
    ("mix-allow-all-addresses", "true"),
    ("sender.min-subnets", "0"),
];

/// Adds what follows from what all layers hold.
pub(super) fn apply(judge: &mut Judge, roles: &Roles) {
    let mut derived = vec![(SHARD, shards(judge).join(","))];
    judge.is_on_one_machine = is_on_one_machine(judge, roles);
    if judge.is_on_one_machine {
        derived.extend(ONE_MACHINE.iter().map(|(key, text)| (*key, (*text).to_owned())));
    }
    let schema = judge.schema.clone();
    let mut layer = Dict::new();
    for (path, text) in derived {
        let is_written = is_written(judge, path);
        // Content topics add to the shards that are written.
        let Some(key) = schema.find(path).filter(|_| !is_written || path == SHARD) else { continue };
        if let Ok(value) = kind::read(key, &text.into()) {
            layers::insert(&mut layer, key, value);
            if !is_written {
                judge.sources.insert(key.path, ConfigSource::Derived);
            }
        }
    }
    judge.layers.push(layer);
}

/// The shards that are written, or all of the cluster, and those of the content topics.
fn shards(judge: &Judge) -> Vec<String> {
    let count = in_force(judge, "num-shards-in-network").first().and_then(|number| number.parse::<u16>().ok());
    let count = count.unwrap_or_default();
    let mut shards = if is_written(judge, SHARD) {
        in_force(judge, SHARD)
    } else {
        (0..count.max(1)).map(|shard| shard.to_string()).collect()
    };
    let topics = in_force(judge, "content-topic");
    for topic in topics.iter().filter_map(|topic| ContentTopic::parse(topic).ok()) {
        let shard = NonZeroU16::new(count).map(|count| topic.shard(count).to_string());
        shards.extend(shard.filter(|shard| !shards.contains(shard)));
    }
    shards
}

fn is_written(judge: &Judge, path: &str) -> bool {
    !matches!(judge.sources.get(path), None | Some(ConfigSource::Default))
}

/// Whether a node is one of a net on one machine, as the simulation files of nwaku have it: packets of others come to it, and
/// it listens on loopback, and its operator has written that it is to be found there and nowhere else. What nobody has written is
/// not guessed. Of a node that only sends, loopback says nothing: it may send to anybody.
fn is_on_one_machine(judge: &Judge, roles: &Roles) -> bool {
    let named = in_force(judge, "roles");
    let named: Vec<RoleName> =
        roles.names().into_iter().filter(|role| named.iter().any(|name| name == role.as_str())).collect();
    let is_loopback = |ip: &str| ip.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    let listens = in_force(judge, "listen-address").iter().all(|ip| is_loopback(ip));
    let nat = in_force(judge, "nat").iter().all(|nat| {
        let external = nat.parse().ok().and_then(Nat::external);
        external.is_none_or(|ip| ip.is_loopback())
    });
    let announced = in_force(judge, "ext-multiaddr");
    let announces = announced.iter().all(|text| is_loopback_address(text));
    let is_external = |nat: &String| nat.parse().ok().and_then(Nat::external).is_some();
    let says_so = !announced.is_empty() || in_force(judge, "nat").iter().any(is_external);
    let is_in_network = judge.presets.iter().any(|preset| preset.is_network());
    let has_name = in_force(judge, "dns4-domain-name").iter().any(|name| !name.is_empty());
    roles.mixing(&named).forwards && listens && nat && announces && says_so && !is_in_network && !has_name
}

fn is_loopback_address(text: &str) -> bool {
    let first = text.parse::<Multiaddr>().ok().and_then(|address| match address.iter().next() {
        Some(Protocol::Ip4(ip)) => Some(IpAddr::from(ip)),
        Some(Protocol::Ip6(ip)) => Some(IpAddr::from(ip)),
        _ => None,
    });
    first.is_some_and(|ip| ip.is_loopback())
}

/// The texts of a key in all layers together.
fn in_force(judge: &Judge, path: &str) -> Vec<String> {
    let key = judge.schema.find(path);
    let value = key.and_then(|key| judge.layers.iter().rev().find_map(|layer| value_of(layer, key)));
    value.map(kind::texts).unwrap_or_default()
}
