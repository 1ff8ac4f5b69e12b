//! `GET /admin/v1/pool`: every mix node that is known, and what it can be used for. `POST` hands nodes over to the running node.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use actix_web::{HttpRequest, HttpResponse, Responder, http::StatusCode, web};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wakumix_discovery::{AddError, Addition, PoolEntry};
use wakumix_role_api::{
    directory::PoolState,
    rest::{Operation, Reply, Taken, read_json},
};
use wakumix_waku::record::{Capabilities, Shards};

use super::{Api, access, body::Refused, routes::OwnRoute};

const POOL: Operation = Operation {
    summary: "Every mix node that is known, its state, and why",
    parameters: &[],
    body: None,
    replies: &[Reply::json::<PoolJson>(200, "The pool as it is now.")],
};
const ADD: Operation = Operation {
    summary: "Hand nodes to the running node, which keeps them until it ends; all of them or none",
    parameters: &[],
    body: Some(Taken::required::<NodesJson>()),
    replies: &[
        Reply::json::<AddedJson>(200, "They are added."),
        Reply::text(400, "Some cannot be read, or their names do not resolve; the text names each."),
        Reply::text(503, "The node is stopping."),
    ],
};

pub(super) fn routes() -> Vec<OwnRoute> {
    vec![
        OwnRoute::get("/admin/v1/pool", &POOL, |route| route.to(pool)).of_operators(),
        OwnRoute::post("/admin/v1/pool", &ADD, |route| route.to(add)).of_operators(),
    ]
}

/// The pool as REST returns it. All times are whole seconds, counted from the moment of the answer.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Pool")]
pub struct PoolJson {
    /// Nodes that a request needs.
    pub needed: usize,
    /// Known mix nodes in each state; every state is there.
    pub counts: BTreeMap<String, usize>,
    /// How diverse the usable nodes are.
    pub diversity: DiversityJson,
    /// Usable ones first, then by peer id.
    pub nodes: Vec<NodeJson>,
}

/// Among how many networks and operators the usable nodes spread.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Diversity")]
pub struct DiversityJson {
    /// Different /24 of their hop addresses.
    pub subnets: usize,
    /// Different families; a node of none counts as one.
    pub operators: usize,
}

/// One mix node.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "PoolNode")]
pub struct NodeJson {
    /// The node.
    pub peer_id: String,
    /// Its state in the pool, e.g. `usable`.
    pub state: String,
    /// Why it is in that state, for people.
    pub reason: String,
    /// What it offers; empty while it has not told.
    pub roles: Vec<String>,
    /// Wire profiles and packet formats; empty while it has not told.
    pub profiles: Vec<String>,
    /// Whether it puts fragments together, as exits do for requests that one packet does not hold; absent while it has not
    /// told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reassembles: Option<bool>,
    /// Who tells of it, most trusted first.
    pub sources: Vec<String>,
    /// Since it was reached last; absent if it never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_seconds: Option<u64>,
    /// For how long it has been in its state.
    pub since_seconds: u64,
    /// Until it is contacted next, if it is to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_check_seconds: Option<u64>,
    /// Failures to reach it in a row.
    pub failures: u32,
    /// By what it is known to be where it says that it is: `entry`, `reached`, `inbound_only` or `stranger`.
    #[serde(default)]
    pub class: String,
    /// Whether this node is connected to it, whoever opened the connection.
    pub connected: bool,
    /// What its operator calls itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
    /// Nodes with the same number are one operator's; it means nothing in another answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<u32>,
    /// The shards that it subscribes to, if it has told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shards: Option<ShardsJson>,
    /// Where it listens.
    pub addresses: Vec<String>,
    /// What headers carry for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hop_address: Option<String>,
    /// `0x` and 64 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mix_pub_key: Option<String>,
}

/// Where a node relays.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Shards")]
pub struct ShardsJson {
    /// The cluster.
    pub cluster: u16,
    /// Their numbers in it.
    pub shards: Vec<u16>,
}

/// Nodes that are handed over.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Nodes")]
pub struct NodesJson {
    /// `<multiaddr>/p2p/<peer id>:<mix key>`, `<multiaddr>/p2p/<peer id>` or `enr:…`, each.
    pub nodes: Vec<String>,
}

/// What was taken of them.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "AddedNodes")]
pub struct AddedJson {
    /// How many.
    pub added: usize,
}

/// All or none is taken: each that cannot be read is named.
async fn add(api: web::Data<Api>, request: HttpRequest, body: web::Bytes) -> Result<impl Responder, Refused> {
    access::permit_admin(&api, request.headers())?;
    let NodesJson { nodes } = read_json(&body).map_err(|words| Refused::new(StatusCode::BAD_REQUEST, words))?;
    let mut additions = Vec::with_capacity(nodes.len());
    let mut wrong = Vec::new();
    for node in &nodes {
        match node.parse::<Addition>() {
            Ok(addition) => additions.push(addition),
            Err(error) => wrong.push(format!("`{node}`: {error}")),
        }
    }
    if nodes.is_empty() {
        wrong.push("`nodes` is empty".to_owned());
    }
    if !wrong.is_empty() {
        return Err(Refused::new(StatusCode::BAD_REQUEST, format!("no node is added: {}", wrong.join("; "))));
    }
    (api.add_nodes)(additions).await.map_err(|error| {
        let status = match error {
            AddError::Names(_) => StatusCode::BAD_REQUEST,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        Refused::new(status, format!("no node is added: {error}"))
    })?;
    Ok(HttpResponse::Ok().json(AddedJson { added: nodes.len() }))
}

async fn pool(api: web::Data<Api>, request: HttpRequest) -> Result<impl Responder, Refused> {
    access::permit_admin(&api, request.headers())?;
    let needed = api.directory.snapshot().needed();
    Ok(HttpResponse::Ok().json(PoolJson::new((api.pool)().await, needed)))
}

impl PoolJson {
    fn new(mut entries: Vec<PoolEntry>, needed: usize) -> Self {
        entries.sort_by_cached_key(|entry| (entry.state, entry.peer.to_base58()));
        let count = |state: PoolState| entries.iter().filter(|entry| entry.state == state).count();
        Self {
            needed,
            counts: PoolState::ALL.into_iter().map(|state| (state.as_str().to_owned(), count(state))).collect(),
            diversity: DiversityJson::of(entries.iter().filter(|entry| entry.state == PoolState::Usable)),
            nodes: entries.into_iter().map(NodeJson::from).collect(),
        }
    }
}

impl DiversityJson {
    fn of<'a>(usable: impl Iterator<Item = &'a PoolEntry>) -> Self {
        let (mut subnets, mut families, mut alone) = (HashSet::new(), HashSet::new(), 0);
        for entry in usable {
            let [a, b, c, _] = entry.hop_address.as_ref().map_or([0; 4], |address| address.ip().octets());
            subnets.insert([a, b, c]);
            match entry.family {
                Some(family) => {
                    families.insert(family);
                }
                None => alone += 1,
            }
        }
        Self { subnets: subnets.len(), operators: families.len() + alone }
    }
}

impl From<PoolEntry> for NodeJson {
    fn from(entry: PoolEntry) -> Self {
        Self {
            peer_id: entry.peer.to_string(),
            state: entry.state.as_str().to_owned(),
            reason: entry.reason,
            roles: roles(entry.capabilities),
            profiles: entry.profiles.iter().map(ToString::to_string).collect(),
            reassembles: entry.reassembles,
            sources: entry.sources.iter().map(|source| source.as_str().to_owned()).collect(),
            age_seconds: entry.last_seen.as_ref().map(Duration::as_secs),
            since_seconds: entry.since.as_secs(),
            next_check_seconds: entry.next_check.as_ref().map(Duration::as_secs),
            failures: entry.failures,
            class: entry.class.as_str().to_owned(),
            connected: entry.is_connected,
            operator: entry.operator,
            family: entry.family.map(|family| family.0),
            shards: entry.shards.map(|Shards { cluster, shards }| ShardsJson { cluster, shards }),
            addresses: entry.addresses.iter().map(ToString::to_string).collect(),
            hop_address: entry.hop_address.map(|address| address.to_string()),
            mix_pub_key: entry.mix_key.map(|key| format!("0x{key}")),
        }
    }
}

fn roles(capabilities: Capabilities) -> Vec<String> {
    let held = Capabilities::ALL.into_iter().filter(|(bit, _)| capabilities.contains(*bit));
    held.map(|(_, name)| name.to_owned()).collect()
}
