//! The health report in the JSON shape of nwaku's `GET /health` (`spec/waku.md §7.2`).
//!
//! `{"nodeHealth":"READY","connectionStatus":"Connected","protocolsHealth":[{"Relay":"READY"},
//! {"Mix":"NOT_READY","desc":"..."}]}`

use serde::ser::{Serialize, SerializeMap, Serializer};

/// State of the node or of one protocol, in nwaku's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum NodeStatus {
    /// Starting.
    Initializing,
    /// Catching up with the network.
    Synchronizing,
    /// Works.
    Ready,
    /// Mounted but cannot serve now.
    NotReady,
    /// Not part of this node.
    NotMounted,
    /// Stopping.
    ShuttingDown,
    /// Too slow to be trusted.
    EventLoopLagging,
}

/// How well the node is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub enum ConnectionStatus {
    /// Enough peers for every protocol.
    Connected,
    /// Some peers.
    PartiallyConnected,
    /// No peer.
    Disconnected,
}

/// A protocol under the name that nwaku gives it, or one that nwaku does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Gossip of messages.
    Relay,
    /// Rate limit of relay.
    RlnRelay,
    /// Message history as a service.
    Store,
    /// Message history as a client.
    StoreClient,
    /// Subscriptions as a service.
    Filter,
    /// Subscriptions as a client.
    FilterClient,
    /// Publishing for others, v3.
    Lightpush,
    /// Publishing through others, v3.
    LightpushClient,
    /// Publishing for others, v2.
    LegacyLightpush,
    /// Publishing through others, v2.
    LegacyLightpushClient,
    /// Handing out peers.
    PeerExchange,
    /// Asking for peers.
    PeerExchangeClient,
    /// Registration at a meeting point.
    Rendezvous,
    /// The mix protocol.
    Mix,
    /// One of a role that nwaku does not have, by its name in the report.
    Other(&'static str),
}

impl Protocol {
    /// Its name, a key in the report.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Relay => "Relay",
            Self::RlnRelay => "Rln Relay",
            Self::Store => "Store",
            Self::StoreClient => "Store Client",
            Self::Filter => "Filter",
            Self::FilterClient => "Filter Client",
            Self::Lightpush => "Lightpush",
            Self::LightpushClient => "Lightpush Client",
            Self::LegacyLightpush => "Legacy Lightpush",
            Self::LegacyLightpushClient => "Legacy Lightpush Client",
            Self::PeerExchange => "Peer Exchange",
            Self::PeerExchangeClient => "Peer Exchange Client",
            Self::Rendezvous => "Rendezvous",
            Self::Mix => "Mix",
            Self::Other(name) => name,
        }
    }
}

/// State of one protocol; written as an object with the protocol's name as key and an optional `desc`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProtocolHealth {
    /// Which protocol.
    pub protocol: Protocol,
    /// Its state.
    pub status: NodeStatus,
    /// What is missing, for people.
    pub description: Option<String>,
}

impl Serialize for ProtocolHealth {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let keys = 1 + usize::from(self.description.is_some());
        let mut map = serializer.serialize_map(Some(keys))?;
        map.serialize_entry(self.protocol.as_str(), &self.status)?;
        if let Some(description) = &self.description {
            map.serialize_entry("desc", description)?;
        }
        map.end()
    }
}

/// The whole report.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// State of the node.
    pub node_health: NodeStatus,
    /// Connectedness.
    pub connection_status: ConnectionStatus,
    /// One entry per protocol.
    pub protocols_health: Vec<ProtocolHealth>,
}

impl Health {
    /// The report of a running node: ready when its parts are, initialising until they first were (`was_ready`), not
    /// ready afterwards.
    pub fn of_running(
        is_ready: bool,
        was_ready: bool,
        connection_status: ConnectionStatus,
        protocols_health: Vec<ProtocolHealth>,
    ) -> Self {
        let node_health = match (is_ready, was_ready) {
            (true, _) => NodeStatus::Ready,
            (false, true) => NodeStatus::NotReady,
            (false, false) => NodeStatus::Initializing,
        };
        Self { node_health, connection_status, protocols_health }
    }

    /// The same of a node that has begun to stop.
    #[must_use]
    pub fn stopping(self) -> Self {
        Self { node_health: NodeStatus::ShuttingDown, ..self }
    }
}

impl ProtocolHealth {
    /// A protocol that this node runs; `problem` is what keeps it from working.
    pub fn running(protocol: Protocol, problem: Option<String>) -> Self {
        let status = if problem.is_none() { NodeStatus::Ready } else { NodeStatus::NotReady };
        Self { protocol, status, description: problem }
    }

    /// A protocol that this node does not run.
    pub fn not_mounted(protocol: Protocol) -> Self {
        Self { protocol, status: NodeStatus::NotMounted, description: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_has_the_json_shape_of_nwaku() {
        let protocols = vec![
            ProtocolHealth::running(Protocol::Relay, None),
            ProtocolHealth::running(Protocol::Mix, Some("pool too small (n < 4)".into())),
            ProtocolHealth::not_mounted(Protocol::LegacyLightpush),
        ];
        let health = Health::of_running(false, false, ConnectionStatus::PartiallyConnected, protocols);
        assert_eq!(
            serde_json::to_value(&health).unwrap(),
            serde_json::json!({
                "nodeHealth": "INITIALIZING",
                "connectionStatus": "PartiallyConnected",
                "protocolsHealth": [
                    { "Relay": "READY" },
                    { "Mix": "NOT_READY", "desc": "pool too small (n < 4)" },
                    { "Legacy Lightpush": "NOT_MOUNTED" },
                ],
            })
        );
    }

    #[test]
    fn a_node_that_was_ready_and_lost_a_part_is_not_ready() {
        let health = |is_ready, was_ready| {
            Health::of_running(is_ready, was_ready, ConnectionStatus::Connected, vec![]).node_health
        };
        assert_eq!(health(false, false), NodeStatus::Initializing);
        assert_eq!(health(true, false), NodeStatus::Ready);
        assert_eq!(health(false, true), NodeStatus::NotReady);
    }
}
