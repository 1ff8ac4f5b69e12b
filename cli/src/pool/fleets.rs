//! Reads and writes the list of nodes of the deployed networks (`fleets.logos.co/data.json`).
//!
//! `{ fleet: { service: { host: { "Address": ip, "ServiceMeta": { "multiaddr", "mix_pub_key", "peer_id", "cluster-id", … } } } } }`. Every
//! object with a `multiaddr` is a node, at any depth, since the levels above have changed before. The keys of the first level name
//! the networks; `--fleet` chooses one.

use std::{collections::BTreeSet, path::Path};

use serde_json::{Map, Value, json};
use wakumix_discovery::entry::MixNodeEntry;
use wakumix_node::{
    config::Problem,
    rest::pool::{NodeJson, PoolJson},
};

use super::USABLE;
use crate::Failure;

/// Largest file that is read, 16 MiB: a hundred times the list of December 2026.
const MAX_FILE: u64 = 16 << 20;
/// Deepest nesting of objects that is read.
const MAX_DEPTH: usize = 16;
/// Key of the first level in a list that this program writes.
const EXPORTED: &str = "wakumix";

/// Mix nodes of a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Listed {
    /// In the form of the key `mixnode`.
    pub(super) entries: Vec<String>,
    /// Nodes without a mix key.
    without_key: usize,
    /// Mix nodes whose record says that they are not exits.
    no_exits: usize,
}

/// One node of the list.
struct Entry<'a> {
    fleet: &'a str,
    /// Its path in the file, for error messages.
    place: String,
    meta: &'a Map<String, Value>,
}

/// Reads the mix nodes of a file; only those of `fleet` if it is given.
///
/// # Errors
/// The file cannot be read or is not such a list; it has several networks and `fleet` names none of them; or entries are not valid
/// mix nodes: then all such entries, each with its path in the file.
pub(super) fn read(path: &Path, fleet: Option<&str>) -> Result<Listed, Failure> {
    let failed = |message: String, help: &str| Failure::Input(Problem::new(message, help).into());
    let size = std::fs::metadata(path).map(|file| file.len());
    let text = size.and_then(|size| match size > MAX_FILE {
        true => Err(std::io::Error::other(format!("it has more than {MAX_FILE} bytes"))),
        false => std::fs::read_to_string(path),
    });
    let text = text.map_err(|error| {
        let help = "name the file that was saved from fleets.logos.co/data.json, or by wakumix pool export";
        failed(format!("{} cannot be read: {error}", path.display()), help)
    })?;
    let value: Value = serde_json::from_str(&text).map_err(|error| {
        let help = "save it again, with curl -fsSL https://fleets.logos.co/data.json -o FILE";
        failed(format!("{} is not JSON: {error}", path.display()), help)
    })?;
    listed(&value, fleet).map_err(|(message, help)| failed(format!("{}: {message}", path.display()), &help))
}

/// The mix nodes of a parsed file.
fn listed(value: &Value, wanted: Option<&str>) -> Result<Listed, (String, String)> {
    let mut all = Vec::new();
    if let Value::Object(fleets) = value {
        // An older form has one level more.
        let inner = fleets.get("fleets").and_then(Value::as_object).unwrap_or(fleets);
        inner.iter().for_each(|(fleet, below)| collect(fleet, fleet, below, 0, &mut all));
    }
    let has_key = |entry: &&Entry<'_>| key(entry.meta).is_some();
    let fleets: BTreeSet<&str> = all.iter().filter(has_key).map(|entry| entry.fleet).collect();
    let named = fleets.iter().copied().collect::<Vec<_>>().join(", ");
    match (wanted, fleets.len()) {
        (_, 0) => {
            let help = "the list has them as multiaddr and mix_pub_key of each node".to_owned();
            return Err(("it has no node with a mix key".to_owned(), help));
        }
        (Some(wanted), _) if !fleets.contains(wanted) => {
            return Err((format!("it has no fleet {wanted} with mix keys"), format!("name one of {named}")));
        }
        (None, 2..) => {
            let message = format!("it has mix nodes of several fleets: {named}");
            return Err((message, "name the one of your network with --fleet".to_owned()));
        }
        _ => {}
    }
    let mut listed = Listed::default();
    let mut wrong = Vec::new();
    for entry in all.iter().filter(|entry| wanted.is_none_or(|wanted| entry.fleet == wanted)) {
        match mix_node(entry.meta) {
            None => listed.without_key += 1,
            Some(Ok(node)) => {
                listed.entries.push(node.to_string());
                listed.no_exits += usize::from(is_no_exit(entry.meta));
            }
            Some(Err(error)) => wrong.push(format!("{}: {error}", entry.place)),
        }
    }
    if wrong.is_empty() {
        return Ok(listed);
    }
    Err((wrong.join("; "), "correct the entries, or take them out".to_owned()))
}

/// Every object below that has an address.
fn collect<'a>(fleet: &'a str, place: &str, value: &'a Value, depth: usize, found: &mut Vec<Entry<'a>>) {
    let Value::Object(object) = value else { return };
    if text(object, &["multiaddr", "multiAddr"]).is_some() {
        found.push(Entry { fleet, place: place.trim_end_matches(" / ServiceMeta").to_owned(), meta: object });
    } else if depth < MAX_DEPTH {
        object.iter().for_each(|(name, below)| collect(fleet, &format!("{place} / {name}"), below, depth + 1, found));
    }
}

fn text<'a>(object: &'a Map<String, Value>, names: &[&str]) -> Option<&'a str> {
    names.iter().find_map(|name| object.get(*name)?.as_str()).filter(|text| !text.is_empty())
}

fn key(meta: &Map<String, Value>) -> Option<&str> {
    text(meta, &["mix_pub_key", "mixPubKey", "mixpubkey"])
}

/// `exitEnabled` of the records of standalone mix nodes, which are of the same shape.
fn is_no_exit(meta: &Map<String, Value>) -> bool {
    let says_no = |value: &Value| value.as_bool() == Some(false) || value.as_str() == Some("false");
    ["exitEnabled", "exit_enabled"].iter().filter_map(|name| meta.get(*name)).any(says_no)
}

/// The entry of a node with a key.
fn mix_node(meta: &Map<String, Value>) -> Option<Result<MixNodeEntry, String>> {
    let (address, key) = (text(meta, &["multiaddr", "multiAddr"])?, key(meta)?);
    let peer = text(meta, &["peer_id", "peerId"]);
    // Some lists have the peer id apart from the address.
    let address = match peer.filter(|_| !address.contains("/p2p/")) {
        Some(peer) => format!("{address}/p2p/{peer}"),
        None => address.to_owned(),
    };
    Some(format!("{address}:{key}").parse::<MixNodeEntry>().map_err(|error| error.to_string()))
}

impl Listed {
    /// Notes for the user on the nodes that were left out or cannot be exits.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.without_key > 0 {
            notes.push(format!("{} nodes of the list have no mix key, and are left out", self.without_key));
        }
        if self.no_exits > 0 {
            notes.push(format!(
                "{} nodes say that they are no exits (exitEnabled): they forward, and serve no requests themselves; a lightpushnode \
                 outside the pool is reached through any node, so name none with this list",
                self.no_exits
            ));
        }
        notes
    }
}

/// The usable nodes of a pool in the form of the list.
pub(super) fn written(pool: &PoolJson) -> Value {
    let nodes = pool.nodes.iter().filter(|node| node.state == USABLE);
    let hosts: Map<String, Value> = nodes.filter_map(|node| Some((node.peer_id.clone(), host(node)?))).collect();
    json!({ EXPORTED: { "mix": hosts } })
}

fn host(node: &NodeJson) -> Option<Value> {
    let (address, key) = (node.hop_address.as_ref()?, node.mix_pub_key.as_ref()?);
    let peer = &node.peer_id;
    let multiaddr = if address.ends_with(peer.as_str()) { address.clone() } else { format!("{address}/p2p/{peer}") };
    let ip = address.split('/').nth(2).unwrap_or_default();
    let mut meta = json!({
        "multiaddr": multiaddr,
        "mix_pub_key": key.trim_start_matches("0x"),
        "peer_id": peer,
        "protocols": node.roles.join(","),
    });
    if let (Some(meta), Some(shards)) = (meta.as_object_mut(), &node.shards) {
        let listed = shards.shards.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        meta.insert("cluster-id".to_owned(), shards.cluster.to_string().into());
        meta.insert("shards".to_owned(), listed.into());
    }
    Some(json!({ "Address": ip, "ServiceMeta": meta }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODES: [[&str; 2]; 2] = [
        [
            "16Uiu2HAmPiEs2ozjjJF2iN2Pe2FYeMC9w4caRHKYdLdAfjgbWM6o",
            "9d09ce624f76e8f606265edb9cca2b7de9b41772a6d784bddaf92ffa8fba7d2c",
        ],
        [
            "16Uiu2HAmLtKaFaSWDohToWhWUZFLtqzYZGPFuXwKrojFVF6az5UF",
            "9231e86da6432502900a84f867004ce78632ab52cd8e30b1ec322cd795710c2a",
        ],
    ];

    /// A list of two fleets as the site has them.
    fn list() -> Value {
        let [[first, key], [second, other]] = NODES;
        let node = |name: &str, peer: &str, key: Value| {
            json!({
                "Address": "203.0.113.7",
                "ServiceMeta": {
                    "multiaddr": format!("/dns4/{name}.example.org/tcp/30303/p2p/{peer}"),
                    "mix_pub_key": key,
                    "peer_id": peer,
                    "cluster-id": "3",
                    "protocols": "relay,store,lightpush,mix",
                },
            })
        };
        json!({
            "a.dev": { "delivery": {
                "one.a.dev": node("one.a.dev", first, format!("0x{key}").into()),
                "two.a.dev": node("two.a.dev", second, "".into()),
            } },
            "a.test": { "delivery": { "one.a.test": node("one.a.test", second, other.into()) } },
        })
    }

    #[test]
    fn the_mix_nodes_of_one_fleet_are_entries() {
        let [[first, key], _] = NODES;
        let dev = listed(&list(), Some("a.dev")).unwrap();
        assert_eq!(dev.entries, [format!("/dns4/one.a.dev.example.org/tcp/30303/p2p/{first}:{key}")]);
        assert_eq!(dev.notes(), ["1 nodes of the list have no mix key, and are left out"]);
        let within = json!({ "fleets": list() });
        assert_eq!(listed(&within, Some("a.dev")), Ok(dev));
    }

    #[test]
    fn a_list_that_leaves_open_what_is_meant_is_refused() {
        let said = |value: &Value, fleet| listed(value, fleet).unwrap_err();
        assert!(said(&list(), None).0.contains("several fleets: a.dev, a.test"));
        let (message, help) = said(&list(), Some("b"));
        assert!(message.contains("no fleet b") && help.contains("a.dev, a.test"), "{message} {help}");
        for empty in [json!([]), json!({}), json!({ "a": { "b": { "multiaddr": "/ip4/192.0.2.1/tcp/1" } } })] {
            assert!(said(&empty, None).0.contains("no node with a mix key"), "{empty}");
        }
        let mut bad = list();
        bad["a.test"]["delivery"]["one.a.test"]["ServiceMeta"]["mix_pub_key"] = "77".into();
        let (message, _) = said(&bad, Some("a.test"));
        assert_eq!(message, "a.test / delivery / one.a.test: the mix key has 2 hex digits, it must have 64");
    }

    #[test]
    fn records_of_standalone_mix_nodes_are_read_too() {
        let [[peer, key], _] = NODES;
        let record = json!({ "x": { "n": {
            "multiAddr": "/ip4/203.0.113.7/tcp/1", "peerId": peer, "mixPubKey": key, "exitEnabled": false,
        } } });
        let read = listed(&record, None).unwrap();
        assert_eq!(read.entries, [format!("/ip4/203.0.113.7/tcp/1/p2p/{peer}:{key}")]);
        assert!(read.notes()[0].contains("no exits"), "{:?}", read.notes());
    }

    #[test]
    fn what_is_written_is_read_again() {
        let [[peer, key], _] = NODES;
        let node = |state: &str| -> NodeJson {
            serde_json::from_value(json!({
                "peerId": peer, "state": state, "reason": "", "roles": ["relay", "mix"], "profiles": [], "sources": ["static"],
                "sinceSeconds": 1, "failures": 0, "connected": true, "addresses": [], "shards": { "cluster": 3, "shards": [0, 1] },
                "hopAddress": "/ip4/203.0.113.7/tcp/60000", "mixPubKey": format!("0x{key}"),
            }))
            .unwrap()
        };
        let pool = |state| PoolJson {
            needed: 4,
            counts: [].into(),
            diversity: wakumix_node::rest::pool::DiversityJson { subnets: 1, operators: 1 },
            nodes: vec![node(state)],
        };
        let value = written(&pool("usable"));
        assert_eq!(listed(&value, None).unwrap().entries, [format!("/ip4/203.0.113.7/tcp/60000/p2p/{peer}:{key}")]);
        let meta = &value[EXPORTED]["mix"][peer]["ServiceMeta"];
        assert_eq!((&meta["cluster-id"], &meta["shards"]), (&json!("3"), &json!("0,1")));
        assert!(listed(&written(&pool("unreachable")), None).is_err());
    }
}
