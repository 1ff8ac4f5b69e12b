//! `POST /admin/v1/probe`: loops through every usable mix node, one JSON object a line as they are done.
//!
//! The first line says what is going to be done ([`ProbeJson`]), each further one what became of one node
//! ([`ProbedJson`]). Bounds: one run at a time, [`MAX_LOOPS`] a node, [`MAX_TOTAL`] in all, [`AT_A_TIME`] under way. A
//! caller that goes away ends the run.

use std::{ops::RangeInclusive, sync::Arc, time::Duration};

use actix_web::{HttpResponse, Responder, http::StatusCode, web};
use futures::{StreamExt, stream};
use libp2p_identity::PeerId;
use serde::{Deserialize, Serialize};
use wakumix_mix::{LoopPlace, MixNode};
use wakumix_role_api::sender::{ClientError, LoopOutcome, SenderHandle};

use super::{
    Api, admin,
    body::{self, Refused},
};

/// Loops through a node when the caller does not say.
pub(crate) const DEFAULT_LOOPS: u32 = 4;
/// Loops through one node: enough to tell a loss of one in a hundred.
pub(crate) const MAX_LOOPS: u32 = 100;
/// Loops of one run. Each is a packet that three nodes unwrap; at [`AT_A_TIME`] they take minutes.
const MAX_TOTAL: usize = 10_000;
/// Nodes that are probed at a time, each by one loop after the other: less than a busy sender has under way.
const AT_A_TIME: usize = 16;
/// How long a loop may take: two hops and a hold here are below 2.1 s at their slowest, the rest is for dialling.
const DEFAULT_TIMEOUT_MS: u64 = 5000;
/// The bounds of the time limit, in milliseconds.
const TIMEOUT_MS: RangeInclusive<u64> = 100..=60_000;

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config.route("/admin/v1/probe", web::post().to(probe));
}

/// What the caller wants; an empty body takes all defaults.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct AskedJson {
    /// Loops through each node.
    #[serde(default = "default_loops")]
    pub(crate) loops: u32,
    /// How long each may take.
    #[serde(default = "default_timeout_ms")]
    pub(crate) timeout_ms: u64,
}

/// What is going to be done.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProbeJson {
    /// Nodes to be probed.
    pub(crate) nodes: usize,
    /// Loops through each.
    pub(crate) loops: u32,
    /// How long each may take.
    pub(crate) timeout_ms: u64,
}

/// What became of the loops through one node. `returned`, `lost` and `failed` sum up to the loops.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProbedJson {
    pub(crate) peer_id: String,
    /// Loops that came back.
    pub(crate) returned: u32,
    /// Loops that did not, at this node or at the other one on the way.
    pub(crate) lost: u32,
    /// Loops that did not leave.
    pub(crate) failed: u32,
    /// Code of the last failure to leave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    /// How long those took that came back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) latency_ms: Option<LatencyJson>,
}

/// Milliseconds from handing a loop to the mixer until it was opened again.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LatencyJson {
    pub(crate) min: u64,
    pub(crate) mean: u64,
    pub(crate) max: u64,
}

async fn probe(api: web::Data<Api>, bytes: web::Bytes) -> Result<impl Responder, Refused> {
    admin::permit(&api)?;
    let asked = AskedJson::parse(&bytes).map_err(Refused::bad_request)?;
    let sender = api.sender.clone().ok_or_else(|| Refused::unavailable("the sender role is off; add it to roles"))?;
    let directory = api.directory.snapshot();
    let peers: Vec<_> = directory.mix_nodes.iter().map(MixNode::peer).collect();
    if peers.is_empty() {
        return Err(Refused::unavailable(format!("no mix node is usable: {}", directory.pool)));
    }
    let total = peers.len().saturating_mul(asked.loops.try_into().unwrap_or(usize::MAX));
    if total > MAX_TOTAL {
        let words = format!("{total} loops in all, at most {MAX_TOTAL} are allowed; ask for fewer");
        return Err(Refused::bad_request(words));
    }
    let run = Arc::clone(&api.probes).try_acquire_owned();
    let run = run.map_err(|_| Refused::new(StatusCode::CONFLICT, "a probe is running; wait for its end"))?;

    let head = line(&ProbeJson { nodes: peers.len(), loops: asked.loops, timeout_ms: asked.timeout_ms });
    let probed = stream::iter(peers).map(move |peer| probe_node(sender.clone(), peer, asked.loops, asked.timeout()));
    let lines = stream::iter([head]).chain(probed.buffer_unordered(AT_A_TIME).map(move |probed| {
        // Held until the last line is written, or the caller goes away.
        let _run = &run;
        line(&probed)
    }));
    Ok(HttpResponse::Ok().content_type("application/x-ndjson").streaming(lines))
}

/// Sends one loop after the other through a node, in turns as the first and as the last hop before this node.
async fn probe_node(sender: SenderHandle, peer: PeerId, loops: u32, timeout: Duration) -> ProbedJson {
    let mut tally = Tally::default();
    for place in [LoopPlace::First, LoopPlace::Second].into_iter().cycle().zip(0..loops).map(|(place, _)| place) {
        tally.add(sender.probe(peer, place, Some(timeout)).await);
    }
    tally.of(peer)
}

/// The loops through one node so far.
#[derive(Default)]
struct Tally {
    /// Bounded by [`MAX_LOOPS`].
    returned: Vec<Duration>,
    lost: u32,
    failed: u32,
    error: Option<&'static str>,
}

impl Tally {
    fn add(&mut self, outcome: Result<LoopOutcome, ClientError>) {
        match outcome {
            Ok(LoopOutcome::Returned(after)) => self.returned.push(after),
            Ok(LoopOutcome::Lost) => self.lost += 1,
            Err(failure) => {
                self.failed += 1;
                self.error = Some(failure.kind());
            }
        }
    }

    fn of(self, peer: PeerId) -> ProbedJson {
        ProbedJson {
            peer_id: peer.to_string(),
            returned: u32::try_from(self.returned.len()).unwrap_or(u32::MAX),
            lost: self.lost,
            failed: self.failed,
            error: self.error.map(str::to_owned),
            latency_ms: LatencyJson::of(&self.returned),
        }
    }
}

impl LatencyJson {
    fn of(times: &[Duration]) -> Option<Self> {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let count = u32::try_from(times.len()).ok().filter(|&count| count > 0)?;
        let mean = times.iter().sum::<Duration>() / count;
        Some(Self { min: ms(*times.iter().min()?), mean: ms(mean), max: ms(*times.iter().max()?) })
    }
}

impl AskedJson {
    fn parse(bytes: &web::Bytes) -> Result<Self, String> {
        let asked: Self = if bytes.is_empty() { Self::default() } else { body::parse(bytes)? };
        if !(1..=MAX_LOOPS).contains(&asked.loops) {
            return Err(format!("loops is {}; use 1 to {MAX_LOOPS}", asked.loops));
        }
        if !TIMEOUT_MS.contains(&asked.timeout_ms) {
            let (least, most) = (TIMEOUT_MS.start(), TIMEOUT_MS.end());
            return Err(format!("timeoutMs is {}; use {least} to {most}", asked.timeout_ms));
        }
        Ok(asked)
    }

    fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }
}

impl Default for AskedJson {
    fn default() -> Self {
        Self { loops: DEFAULT_LOOPS, timeout_ms: DEFAULT_TIMEOUT_MS }
    }
}

fn default_loops() -> u32 {
    DEFAULT_LOOPS
}

fn default_timeout_ms() -> u64 {
    DEFAULT_TIMEOUT_MS
}

fn line(value: &impl Serialize) -> Result<web::Bytes, serde_json::Error> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line.into())
}
