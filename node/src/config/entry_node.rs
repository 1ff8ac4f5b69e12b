//! A node to find the network from, in any of the forms that nwaku takes for `entry-node` (`spec/waku.md §7.1`).

use std::{fmt, str::FromStr};

use wakumix_discovery::{
    entry::{EntryError, PeerAddress, check_dns_tree},
    parse_bootstrap,
};

/// Where discovery begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryNode {
    /// A node record, for discv5.
    Record(String),
    /// A peer, which is connected to and asked.
    Peer(PeerAddress),
    /// A DNS list.
    DnsTree(String),
}

impl FromStr for EntryNode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with("enrtree:") {
            check_dns_tree(text).map(|()| Self::DnsTree(text.to_owned())).map_err(|error| error.to_string())
        } else if text.starts_with("enr:") {
            parse_bootstrap(text).map(|_| Self::Record(text.to_owned())).map_err(|error| error.problem.to_string())
        } else if text.starts_with('/') {
            text.parse().map(Self::Peer).map_err(|error: EntryError| error.to_string())
        } else {
            Err("neither a node record (enr:…), a multiaddr (/ip4/…) nor a DNS list (enrtree://…)".to_owned())
        }
    }
}

impl fmt::Display for EntryNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record(text) | Self::DnsTree(text) => f.write_str(text),
            Self::Peer(peer) => peer.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_the_forms_apart_and_writes_what_it_read() {
        let peer = "/ip4/192.0.2.1/tcp/60000/p2p/16Uiu2HAmPiEs2ozjjJF2iN2Pe2FYeMC9w4caRHKYdLdAfjgbWM6o";
        let tree = "enrtree://AOGYWMBYOUIMOENHXCHILPKY3ZRFEULMFI4DOM442QSZ73TT2A7VI@test.waku.nodes.status.im";
        for text in [peer, tree] {
            assert_eq!(text.parse::<EntryNode>().unwrap().to_string(), text);
        }
        assert!(matches!(peer.parse(), Ok(EntryNode::Peer(_))));
        assert!(matches!(tree.parse(), Ok(EntryNode::DnsTree(_))));
    }

    #[test]
    fn says_what_is_wrong_with_each_form() {
        for (text, part) in [("node1.example", "neither"), ("enr:-junk", "base64"), ("/ip4/192.0.2.1", "/p2p/")] {
            let error = text.parse::<EntryNode>().unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
