//! `/admin/v1/peers` and `/admin/v1/peer/{peerId}`: lists the peers that this node is connected to or knows, in nwaku's JSON
//! (`spec/waku.md §7.2`), and dials peers.

mod json;

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web};
use futures::{StreamExt as _, stream};
use libp2p_identity::PeerId;
use wakumix_discovery::entry::PeerAddress;
use wakumix_role_api::rest::{Operation, Parameter, Reply, Taken, read_json};
use wakumix_waku::RELAY_PROTOCOL;

use super::{
    Api, access,
    body::{Refused, text},
    health::HOST_LIMIT,
    routes::OwnRoute,
};
use json::{PeerJson, PeersOfShardJson, StatsJson, known};

/// Limit on one dial: four addresses at 3 s each, and 3 s for the handshake.
const DIAL_LIMIT: Duration = Duration::from_secs(15);
/// Most peers in one request. With [`DIALS_AT_A_TIME`] in parallel it lasts 64 / 16 × [`DIAL_LIMIT`] = 60 s at most.
const MAX_DIALS: usize = 64;
/// Parallel dials of one request.
const DIALS_AT_A_TIME: usize = 16;

const BAD_SHARD: Reply = Reply::text(400, "This is no shard number.");
const NO_RELAY: Reply = Reply::text(503, "The relay role is off.");

const SHARD: Parameter =
    Parameter { name: "shardId", meaning: "A shard of this node's cluster.", example: "0", pattern: "^[0-9]{1,3}$" };
const PEER: Parameter = Parameter {
    name: "peerId",
    meaning: "A peer id.",
    example: "16Uiu2HAmPiEs2ozjjJF2iN2Pe2FYeMC9w4caRHKYdLdAfjgbWM6o",
    pattern: "^16Uiu2HA[1-9A-HJ-NP-Za-km-z]{44,45}$",
};

const fn reads(summary: &'static str, parameters: &'static [Parameter], replies: &'static [Reply]) -> Operation {
    Operation { summary, parameters, body: None, replies }
}

const ALL: Operation =
    reads("Peers that are connected or known", &[], &[Reply::json::<Vec<PeerJson>>(200, "The peers of now.")]);
const ONE: Operation = reads(
    "One peer",
    &[PEER],
    &[
        Reply::json::<PeerJson>(200, "The peer."),
        Reply::text(400, "This is no peer id."),
        Reply::text(404, "The peer is not known."),
    ],
);
const CONNECTED: Operation =
    reads("Peers that are connected", &[], &[Reply::json::<Vec<PeerJson>>(200, "The peers of now.")]);
const CONNECTED_ON: Operation =
    reads("Connected peers on a shard", &[SHARD], &[Reply::json::<Vec<PeerJson>>(200, "The peers of now."), BAD_SHARD]);
const SERVICE: Operation = reads(
    "Peers that relay or offer a service of Waku",
    &[],
    &[Reply::json::<Vec<PeerJson>>(200, "The peers of now.")],
);
const RELAY: Operation = reads(
    "Connected relay peers by shard",
    &[],
    &[Reply::json::<Vec<PeersOfShardJson>>(200, "One entry for each shard that this node has joined."), NO_RELAY],
);
const RELAY_ON: Operation = reads(
    "Connected relay peers of a shard",
    &[SHARD],
    &[Reply::json::<PeersOfShardJson>(200, "The shard and its peers."), BAD_SHARD, NO_RELAY],
);
const MESH: Operation = reads(
    "Mesh peers by shard",
    &[],
    &[Reply::json::<Vec<PeersOfShardJson>>(200, "One entry for each shard that this node has joined."), NO_RELAY],
);
const MESH_ON: Operation = reads(
    "Mesh peers of a shard",
    &[SHARD],
    &[Reply::json::<PeersOfShardJson>(200, "The shard and its peers."), BAD_SHARD, NO_RELAY],
);
const STATS: Operation = reads("Numbers of peers", &[], &[Reply::json::<StatsJson>(200, "Numbers by group and name.")]);
/// A multiaddress in a list.
#[derive(schemars::JsonSchema)]
#[schemars(rename = "PeerAddress")]
#[expect(dead_code, reason = "its form alone is used")]
struct AddressJson(#[schemars(regex(pattern = "^/.+/p2p/[1-9A-HJ-NP-Za-km-z]+$"))] String);

const ADD: Operation = Operation {
    summary: "Connect to peers, and stay connected to them until the node ends",
    parameters: &[],
    body: Some(Taken::required::<Vec<AddressJson>>()),
    replies: &[
        Reply::text(200, "OK: all of them are connected."),
        Reply::text(
            400,
            "The body is malformed, an address names no peer, or one is not reached; the text says which.",
        ),
    ],
};

pub(super) fn routes() -> Vec<OwnRoute> {
    let routes = [
        OwnRoute::get("/admin/v1/peers", &ALL, |route| route.to(all)),
        OwnRoute::post("/admin/v1/peers", &ADD, |route| route.to(add)),
        OwnRoute::get("/admin/v1/peer/{peerId}", &ONE, |route| route.to(one)),
        OwnRoute::get("/admin/v1/peers/connected", &CONNECTED, |route| route.to(connected)),
        OwnRoute::get("/admin/v1/peers/connected/on/{shardId}", &CONNECTED_ON, |route| route.to(connected_on)),
        OwnRoute::get("/admin/v1/peers/service", &SERVICE, |route| route.to(service)),
        OwnRoute::get("/admin/v1/peers/relay", &RELAY, |route| route.to(relay)),
        OwnRoute::get("/admin/v1/peers/relay/on/{shardId}", &RELAY_ON, |route| route.to(relay_on)),
        OwnRoute::get("/admin/v1/peers/mesh", &MESH, |route| route.to(mesh)),
        OwnRoute::get("/admin/v1/peers/mesh/on/{shardId}", &MESH_ON, |route| route.to(mesh_on)),
        OwnRoute::get("/admin/v1/peers/stats", &STATS, |route| route.to(stats)),
    ];
    routes.map(OwnRoute::of_operators).to_vec()
}

type Answer = Result<HttpResponse, Refused>;

/// All peers that are connected or known, after checking that the request may use `/admin`.
async fn peers(api: &Api, request: &HttpRequest) -> Result<Vec<PeerJson>, Refused> {
    access::permit_admin(api, request.headers())?;
    let connected = tokio::time::timeout(HOST_LIMIT, api.host.peer_details());
    let (connected, pool) = futures::join!(connected, (api.pool)());
    Ok(known(api.sharding.cluster, connected.unwrap_or_default(), pool))
}

fn json(value: &impl serde::Serialize) -> Answer {
    Ok(HttpResponse::Ok().json(value))
}

async fn all(api: web::Data<Api>, request: HttpRequest) -> Answer {
    json(&peers(&api, &request).await?)
}

async fn one(api: web::Data<Api>, request: HttpRequest, peer: web::Path<String>) -> Answer {
    let peers = peers(&api, &request).await?;
    let peer: PeerId = peer.parse().map_err(|_| bad("Invalid argument: this is no peer id; write it as 16Uiu2HA…"))?;
    let unknown = || Refused::new(StatusCode::NOT_FOUND, format!("Peer with ID {peer} not found"));
    json(peers.iter().find(|known| known.peer() == Some(peer)).ok_or_else(unknown)?)
}

async fn connected(api: web::Data<Api>, request: HttpRequest) -> Answer {
    let mut peers = peers(&api, &request).await?;
    peers.retain(PeerJson::is_connected);
    json(&peers)
}

async fn connected_on(api: web::Data<Api>, request: HttpRequest, shard: web::Path<String>) -> Answer {
    let mut peers = peers(&api, &request).await?;
    let shard = parse_shard(&shard)?;
    peers.retain(|peer| peer.is_connected() && peer.shards.contains(&shard));
    json(&peers)
}

async fn service(api: web::Data<Api>, request: HttpRequest) -> Answer {
    let mut peers = peers(&api, &request).await?;
    let is_served = |protocol: &String| protocol == RELAY_PROTOCOL || protocol.starts_with("/vac/waku/");
    peers.retain(|peer| peer.protocols.iter().any(is_served));
    json(&peers)
}

async fn relay(api: web::Data<Api>, request: HttpRequest) -> Answer {
    json(&by_shard(&api, &request, PeerJson::relays_on).await?)
}

async fn relay_on(api: web::Data<Api>, request: HttpRequest, shard: web::Path<String>) -> Answer {
    on_shard(&api, &request, &shard, PeerJson::relays_on).await
}

async fn mesh(api: web::Data<Api>, request: HttpRequest) -> Answer {
    json(&by_shard(&api, &request, PeerJson::is_in_mesh_of).await?)
}

async fn mesh_on(api: web::Data<Api>, request: HttpRequest, shard: web::Path<String>) -> Answer {
    on_shard(&api, &request, &shard, PeerJson::is_in_mesh_of).await
}

/// Whether a peer belongs to a shard.
type Belongs = fn(&PeerJson, u16) -> bool;

async fn by_shard(api: &Api, request: &HttpRequest, belongs: Belongs) -> Result<Vec<PeersOfShardJson>, Refused> {
    let peers = peers(api, request).await?;
    let joined = joined(api).await?;
    Ok(joined.into_iter().map(|shard| PeersOfShardJson::of(shard, &peers, belongs)).collect())
}

async fn on_shard(api: &Api, request: &HttpRequest, shard: &str, belongs: Belongs) -> Answer {
    let peers = peers(api, request).await?;
    let shard = parse_shard(shard)?;
    joined(api).await?;
    json(&PeersOfShardJson::of(shard, &peers, belongs))
}

/// The shards whose gossipsub topics this node has joined.
async fn joined(api: &Api) -> Result<Vec<u16>, Refused> {
    let off = || {
        let words = "Error: Relay Protocol is not mounted to the node: the relay role is off; add it to roles";
        Refused::new(StatusCode::SERVICE_UNAVAILABLE, words)
    };
    api.ports.get::<wakumix_role_api::relay::RelayHandle>().ok_or_else(off)?;
    let status = tokio::time::timeout(HOST_LIMIT, api.host.status()).await.ok().flatten();
    let topics = status.map(|status| status.mesh_peers).unwrap_or_default();
    Ok(topics.iter().filter_map(|(topic, _)| json::shard_of(topic, api.sharding.cluster)).collect())
}

async fn stats(api: web::Data<Api>, request: HttpRequest) -> Answer {
    let peers = peers(&api, &request).await?;
    let joined = joined(&api).await.unwrap_or_default();
    json(&json::stats(&peers, &joined))
}

/// Dials each of the peers; the first that cannot be reached ends the request, as in nwaku.
async fn add(api: web::Data<Api>, request: HttpRequest, body: web::Bytes) -> Answer {
    access::permit_admin(&api, request.headers())?;
    let texts: Vec<String> = read_json(&body).map_err(bad)?;
    if texts.len() > MAX_DIALS {
        return Err(bad(format!(
            "{} peers in one request, at most {MAX_DIALS} are allowed; ask in parts",
            texts.len()
        )));
    }
    let parse = |(at, text): (usize, &String)| {
        text.parse::<PeerAddress>().map_err(|error| {
            bad(format!("Couldn't parse remote peer info: peer {at}, `{}`: {error}", super::body::shown(text)))
        })
    };
    let peers: Vec<PeerAddress> = texts.iter().enumerate().map(parse).collect::<Result<_, _>>()?;
    let mut dials = stream::iter(peers.into_iter().enumerate())
        .map(|(at, peer)| {
            let host = api.host.clone();
            async move {
                let dial = host.dial(peer.peer, vec![peer.address.clone()]);
                (at, tokio::time::timeout(DIAL_LIMIT, dial).await.unwrap_or(false), peer)
            }
        })
        .buffered(DIALS_AT_A_TIME);
    while let Some((at, is_connected, peer)) = dials.next().await {
        if !is_connected {
            return Err(bad(format!("Failed to connect to peer at index: {at} - {}", peer.full())));
        }
        (api.keep)(peer).await;
    }
    Ok(text(StatusCode::OK, "OK"))
}

fn bad(words: impl Into<String>) -> Refused {
    Refused::new(StatusCode::BAD_REQUEST, words)
}

fn parse_shard(text: &str) -> Result<u16, Refused> {
    let shard = text.parse().ok().filter(|shard| *shard < wakumix_waku::topic::MAX_SHARDS);
    shard.ok_or_else(|| bad("Invalid shardId: a shard is a number from 0 to 1023"))
}
