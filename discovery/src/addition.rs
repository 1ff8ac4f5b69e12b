//! What an operator hands to a running node: mix nodes, peers and node records, in the forms of the configuration.

use std::{net::IpAddr, str::FromStr, time::Duration};

use futures::future::join_all;
use tokio::time::timeout;
use wakumix_mix::MixNode;
use wakumix_records::node_record::NodeRecord;

use crate::{
    entry::{MixNodeEntry, PeerAddress},
    node_record,
    peer_report::PeerReport,
    sources::Resolver,
};

/// A name is given up after this time: whoever has called waits.
const NAME_TIMEOUT: Duration = Duration::from_secs(5);

/// One thing that is handed over. `FromStr` reads `<multiaddr>/p2p/<peer id>:<mix key>`, `<multiaddr>/p2p/<peer id>` and `enr:…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addition {
    /// A mix node with its key.
    MixNode(MixNodeEntry),
    /// A peer to stay connected to, which says itself what it is.
    Peer(PeerAddress),
    /// A record of a node, signed by it.
    Record(Box<NodeRecord>),
}

/// Why nothing was taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddError {
    /// Names without an address of IPv4.
    #[error("no address of IPv4 is known for {}", .0.join(", "))]
    Names(Vec<String>),
    /// Discovery has stopped.
    #[error("this node is stopping")]
    Stopped,
}

/// The same with addresses in the place of names.
#[derive(Debug, Default)]
pub(crate) struct Added {
    pub(crate) mix_nodes: Vec<MixNode>,
    pub(crate) peers: Vec<PeerAddress>,
    pub(crate) records: Vec<PeerReport>,
}

impl FromStr for Addition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.starts_with("enr:") {
            return text
                .parse()
                .map(|record| Self::Record(Box::new(record)))
                .map_err(|error: <NodeRecord as FromStr>::Err| error.to_string());
        }
        if !text.starts_with('/') {
            let forms =
                "neither <multiaddr>/p2p/<peer id>:<mix key>, <multiaddr>/p2p/<peer id> nor a node record, enr:…";
            return Err(forms.to_owned());
        }
        // A key stands behind the last part of the address, whose own colons are those of IPv6 in front.
        let has_key = text.rsplit('/').next().is_some_and(|last| last.contains(':'));
        if has_key {
            text.parse().map(Self::MixNode).map_err(|error: <MixNodeEntry as FromStr>::Err| error.to_string())
        } else {
            text.parse().map(Self::Peer).map_err(|error: <PeerAddress as FromStr>::Err| error.to_string())
        }
    }
}

/// Sorts what is handed over, with addresses in the place of names.
pub(crate) async fn resolved(additions: Vec<Addition>, resolver: &Resolver) -> Result<Added, AddError> {
    let mut added = Added::default();
    let mut named = Vec::new();
    for addition in additions {
        match addition {
            Addition::MixNode(entry) => match entry.node() {
                Some(node) => added.mix_nodes.push(node),
                None => named.push(entry),
            },
            Addition::Peer(peer) => added.peers.push(peer),
            Addition::Record(record) => {
                let report = node_record::report(&record);
                let peer = record.peer;
                added
                    .peers
                    .extend(report.addresses.first().map(|address| PeerAddress { peer, address: address.clone() }));
                added.records.push(report);
            }
        }
    }
    let nodes = join_all(named.iter().map(|entry| node_of(entry, resolver))).await;
    let unknown: Vec<String> = named
        .iter()
        .zip(&nodes)
        .filter(|(_, node)| node.is_none())
        .filter_map(|(entry, _)| entry.name().map(|(name, _)| name.to_owned()))
        .collect();
    if !unknown.is_empty() {
        return Err(AddError::Names(unknown));
    }
    added.mix_nodes.extend(nodes.into_iter().flatten());
    Ok(added)
}

/// The node of an entry with a name, if the name has an address that a header carries.
async fn node_of(entry: &MixNodeEntry, resolver: &Resolver) -> Option<MixNode> {
    let (name, port) = entry.name()?;
    let ips = timeout(NAME_TIMEOUT, resolver(name.to_owned(), port)).await.ok()?.ok()?;
    let ip = ips.into_iter().find_map(|ip| if let IpAddr::V4(ip) = ip { Some(ip) } else { None })?;
    entry.node_at(ip).ok()
}

#[cfg(test)]
mod tests {
    use std::{io, sync::Arc};

    use futures::FutureExt as _;

    use super::*;

    const PEER: &str = "16Uiu2HAmPiEs2ozjjJF2iN2Pe2FYeMC9w4caRHKYdLdAfjgbWM6o";
    const KEY: &str = "9d09ce624f76e8f606265edb9cca2b7de9b41772a6d784bddaf92ffa8fba7d2c";
    /// The first vector of `spec/waku.md §6.3`.
    const RECORD: &str = "enr:-NC4QKYtas8STkenlqBTJ3a1TTLzJA2DsGGbFlnxem9aSM2IXm-CSVZULdk2467bAyFnepnt8KP_QlfDzdaMXd_zqtwBgmlkgnY0gmlwhH8AAAGHbWl4LWtleaCdCc5iT3bo9gYmXtucyit96bQXcqbXhL3a-S_6j7p9LIptdWx0aWFkZHJzgIJyc4UAAgEAAIlzZWNwMjU2azGhA6RFtVJVBh0SYOoP8xrgnXSlpiFARmQkF9d8Rn4fSeiog3RjcILqYYN1ZHCCIymFd2FrdTIt";

    fn read(text: &str) -> Addition {
        text.parse().unwrap()
    }

    /// Knows one name.
    fn resolver() -> Resolver {
        Arc::new(|name, _| {
            let known = name == "mix.example.org";
            let ips = if known {
                Ok(vec!["2a00::1".parse().unwrap(), "192.0.2.7".parse().unwrap()])
            } else {
                Err(io::Error::other("no such name"))
            };
            std::future::ready(ips).boxed()
        })
    }

    #[test]
    fn tells_the_forms_apart_and_says_what_is_wrong_with_each() {
        assert!(matches!(read(&format!("/ip4/192.0.2.1/tcp/1/p2p/{PEER}:{KEY}")), Addition::MixNode(_)));
        assert!(matches!(read(&format!(" /ip6/2a00::1/tcp/1/p2p/{PEER}")), Addition::Peer(_)));
        assert!(matches!(read(RECORD), Addition::Record(_)));
        for (text, part) in [
            ("192.0.2.1:60000".to_owned(), "neither <multiaddr>"),
            (format!("/ip4/192.0.2.1/tcp/1/p2p/{PEER}:77"), "has 2 hex digits"),
            ("/ip4/192.0.2.1/tcp/1".to_owned(), "/p2p/<peer id>"),
            ("enr:-junk".to_owned(), "base64"),
        ] {
            let error = text.parse::<Addition>().unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[tokio::test]
    async fn names_become_addresses_and_records_peers_as_well() {
        let named = read(&format!("/dns4/mix.example.org/tcp/1/p2p/{PEER}:{KEY}"));
        let added = resolved(vec![named.clone(), read(RECORD)], &resolver()).await.unwrap();
        assert_eq!(added.mix_nodes[0].address.multiaddr().to_string(), "/ip4/192.0.2.7/tcp/1");
        assert_eq!(added.peers[0].to_string(), format!("/ip4/127.0.0.1/tcp/60001/p2p/{PEER}"));
        assert_eq!(added.records[0].mix_key.map(|key| key.to_string()).as_deref(), Some(KEY));
        let unknown = read(&format!("/dns4/gone.example.org/tcp/1/p2p/{PEER}:{KEY}"));
        let error = resolved(vec![named, unknown], &resolver()).await.unwrap_err();
        assert_eq!(error.to_string(), "no address of IPv4 is known for gone.example.org");
    }
}
