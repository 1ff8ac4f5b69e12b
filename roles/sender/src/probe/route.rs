//! `POST /admin/v1/probe`: loops through every usable mix node, one JSON object a line as they are done.
//!
//! The first line says what is going to be done ([`ProbeJson`]), each further one what became of one node
//! ([`ProbedJson`]). Bounds: one run at a time, [`MAX_LOOPS`] a node, [`MAX_TOTAL`] in all, [`AT_A_TIME`] under way. A
//! caller that goes away ends the run.

use std::{ops::RangeInclusive, sync::Arc, time::Duration};

use futures::{FutureExt as _, StreamExt as _, stream};
use libp2p_identity::PeerId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use wakumix_mix::{LoopPlace, MixNode};
use wakumix_role_api::{
    rest::{Access, Content, Method, Object, Operation, Reply, Request, RequestBody, Response, Route, RouteContext},
    sender::{ClientError, LoopOutcome, SenderHandle},
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

/// One permit for each probe that may run at a time.
#[derive(Clone, Debug)]
pub(crate) struct ProbeRuns(Arc<Semaphore>);

impl ProbeRuns {
    /// One at a time.
    pub(crate) fn one() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

/// The route of probes.
pub(crate) fn route() -> Route {
    let handler =
        |context, request: Request| async move { probe(&context, &request).unwrap_or_else(|refused| refused) }.boxed();
    let (access, method, operation) = (Access::Operators, Method::Post, &PROBE);
    Route { access, method, path: "/admin/v1/probe", takes: false, operation, handler }
}

const PROBE: Operation = Operation {
    summary: "Send loops through every usable mix node, and show loss and latency of each",
    parameters: &[],
    body: Some(RequestBody::optional::<AskedJson>()),
    replies: &[
        Reply {
            content: Content::json_lines::<LineJson>(),
            ..Reply::text(200, "What is going to be done, then what became of each node.")
        },
        Reply::text(400, "The body is malformed, or asks for too many loops."),
        Reply::text(409, "Another probe is running."),
        Reply::text(503, "No mix node is usable, or the sender role is off."),
    ],
};

/// One line of the answer, for its description.
#[derive(JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "ProbeLine")]
#[expect(dead_code, reason = "each line is written by itself")]
enum LineJson {
    /// The first.
    Head(ProbeJson),
    /// Each of the others.
    Node(ProbedJson),
}

/// What the caller wants; an empty body takes all defaults.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Probe")]
pub(crate) struct AskedJson {
    /// Loops through each node.
    #[serde(default = "default_loops")]
    #[schemars(range(min = 1, max = 100))]
    pub(crate) loops: u32,
    /// How long each may take.
    #[serde(default = "default_timeout_ms")]
    #[schemars(range(min = 100, max = 60_000))]
    pub(crate) timeout_ms: u64,
}

/// What is going to be done.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ProbeHead")]
pub(crate) struct ProbeJson {
    /// Nodes to be probed.
    pub(crate) nodes: usize,
    /// Loops through each.
    pub(crate) loops: u32,
    /// How long each may take.
    pub(crate) timeout_ms: u64,
}

/// What became of the loops through one node. `returned`, `lost` and `failed` sum up to the loops.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ProbedNode")]
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
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Latency")]
pub(crate) struct LatencyJson {
    pub(crate) min: u64,
    pub(crate) mean: u64,
    pub(crate) max: u64,
}

fn probe(context: &RouteContext, request: &Request) -> Result<Response, Response> {
    let asked = AskedJson::parse(request)?;
    let ports = context.ports.get::<SenderHandle>().zip(context.ports.get::<ProbeRuns>());
    let (sender, ProbeRuns(runs)) = ports.ok_or_else(|| Response::unavailable("the sender has stopped"))?;
    let directory = context.directory.snapshot();
    // What a node with guards sends passes these alone.
    let is_probed = |peer: &PeerId| {
        directory.guards.as_ref().is_none_or(|guards| guards.contains(peer) && directory.connected.contains(peer))
    };
    let peers: Vec<_> = directory.mix_nodes.iter().map(MixNode::peer).filter(is_probed).collect();
    if peers.is_empty() {
        return Err(Response::unavailable(format!("no mix node is usable: {}", directory.pool)));
    }
    let total = peers.len().saturating_mul(asked.loops.try_into().unwrap_or(usize::MAX));
    if total > MAX_TOTAL {
        let words = format!("{total} loops in all, at most {MAX_TOTAL} are allowed; ask for fewer");
        return Err(Response::bad_request(words));
    }
    let run = runs.try_acquire_owned().map_err(|_| Response::text(409, "a probe is running; wait for its end"))?;

    let head = line(&ProbeJson { nodes: peers.len(), loops: asked.loops, timeout_ms: asked.timeout_ms });
    let probed = stream::iter(peers).map(move |peer| probe_node(sender.clone(), peer, asked.loops, asked.timeout()));
    let lines = stream::iter([head]).chain(probed.buffer_unordered(AT_A_TIME).map(move |probed| {
        // Held until the last line is written, or the caller goes away.
        let _run = &run;
        line(&probed)
    }));
    Ok(Response::json_lines(lines))
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
    fn parse(request: &Request) -> Result<Self, Response> {
        let asked: Self = if request.body.is_empty() { Self::default() } else { request.json::<Object<Self>>()?.0 };
        if !(1..=MAX_LOOPS).contains(&asked.loops) {
            return Err(Response::bad_request(format!("loops is {}; use 1 to {MAX_LOOPS}", asked.loops)));
        }
        if !TIMEOUT_MS.contains(&asked.timeout_ms) {
            let (least, most) = (TIMEOUT_MS.start(), TIMEOUT_MS.end());
            return Err(Response::bad_request(format!("timeoutMs is {}; use {least} to {most}", asked.timeout_ms)));
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

/// These values hold texts and numbers, so none can fail to be written.
fn line(value: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use wakumix_role_api::{
        Directory, DirectoryPublisher, Ports, Receiver,
        host::HostHandle,
        mailbox,
        sender::{Loop, LoopRequest, NAME, SenderMessage},
    };
    use wakumix_role_testkit::{node, telemetry};

    use super::*;

    /// The route in front of a sender that the test plays.
    struct World {
        context: RouteContext,
        directory: DirectoryPublisher,
    }

    /// The other end of its queue.
    struct Queues {
        sender: Receiver<SenderMessage>,
    }

    impl World {
        fn new() -> (Self, Queues) {
            let telemetry = telemetry(&crate::METRICS);
            let (host, _) = mailbox("host", 1, &telemetry);
            let (sender, inbox) = mailbox("sender", 4, &telemetry);
            let mut ports = Ports::new(HostHandle::new(host));
            ports.insert(NAME, SenderHandle::new(sender)).unwrap();
            ports.insert(NAME, ProbeRuns::one()).unwrap();
            let (publisher, directory) = DirectoryPublisher::new();
            let world = Self { context: RouteContext { ports, directory }, directory: publisher };
            (world, Queues { sender: inbox.receiver().unwrap() })
        }

        async fn post(&self, body: String) -> (u16, String) {
            let request = Request { body: body.into_bytes(), ..Request::default() };
            let response = (route().handler)(self.context.clone(), request).await;
            (response.status, String::from_utf8(response.into_bytes().await).unwrap())
        }
    }

    /// Answers so many loops; where each was to pass its node.
    async fn answer_loops(
        sender: &mut Receiver<SenderMessage>,
        outcomes: impl IntoIterator<Item = Result<LoopOutcome, ClientError>>,
    ) -> Vec<(PeerId, LoopPlace, Option<Duration>)> {
        let mut places = Vec::new();
        for outcome in outcomes {
            let Some(SenderMessage::Loop(Loop { request: LoopRequest { through, place, timeout }, reply })) =
                sender.recv().await
            else {
                panic!("no loop")
            };
            places.push((through, place, timeout));
            reply.send(outcome).unwrap();
        }
        places
    }

    fn returned(milliseconds: u64) -> Result<LoopOutcome, ClientError> {
        Ok(LoopOutcome::Returned(Duration::from_millis(milliseconds)))
    }

    #[tokio::test]
    async fn a_probe_sends_loops_through_each_node_in_both_places() {
        let (world, mut queues) = World::new();
        world.directory.publish(Directory { mix_nodes: vec![node(1)], ..Directory::default() });
        let outcomes = [returned(100), Ok(LoopOutcome::Lost), returned(300), Err(ClientError::Busy)];
        let body = json!({ "loops": 4, "timeoutMs": 700 }).to_string();
        let ((status, answer), places) = futures::join!(world.post(body), answer_loops(&mut queues.sender, outcomes));
        assert_eq!(status, 200);
        let limit = Some(Duration::from_millis(700));
        let expected = [LoopPlace::First, LoopPlace::Second, LoopPlace::First, LoopPlace::Second];
        assert_eq!(places, expected.map(|place| (node(1).peer(), place, limit)));
        let lines: Vec<Value> = answer.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(
            lines,
            [
                json!({ "nodes": 1, "loops": 4, "timeoutMs": 700 }),
                json!({
                    "peerId": node(1).peer().to_string(),
                    "returned": 2,
                    "lost": 1,
                    "failed": 1,
                    "error": "busy",
                    "latencyMs": { "min": 100, "mean": 200, "max": 300 },
                }),
            ]
        );
    }

    #[tokio::test]
    async fn one_probe_runs_at_a_time_and_the_next_after_it() {
        let (world, mut queues) = World::new();
        world.directory.publish(Directory { mix_nodes: vec![node(1)], ..Directory::default() });
        let body = || json!({ "loops": 1 }).to_string();
        let second = async {
            // The first has begun: its loop waits.
            let Some(SenderMessage::Loop(Loop { reply, .. })) = queues.sender.recv().await else { panic!("no loop") };
            let refused = world.post(body()).await;
            reply.send(returned(1)).unwrap();
            refused
        };
        let ((status, _), (refused, words)) = futures::join!(world.post(body()), second);
        assert_eq!((status, refused), (200, 409));
        assert!(words.contains("a probe is running"), "{words}");
        let ((status, _), _) = futures::join!(world.post(body()), answer_loops(&mut queues.sender, [returned(1)]));
        assert_eq!(status, 200);
    }

    #[tokio::test]
    async fn a_probe_that_cannot_run_says_why() {
        let (world, _queues) = World::new();
        let (status, words) = world.post(String::new()).await;
        assert!(status == 503 && words.contains("no mix node is usable"), "{words}");
        for (body, part) in [
            (json!({ "loops": 0 }), "loops is 0; use 1 to 100"),
            (json!({ "loops": 101 }), "loops is 101; use 1 to 100"),
            (json!({ "timeoutMs": 5 }), "timeoutMs is 5; use 100 to 60000"),
            (json!({ "loop": 5 }), "unknown field `loop`"),
        ] {
            let (status, words) = world.post(body.to_string()).await;
            assert!(status == 400 && words.contains(part), "{body}: {words}");
        }
        let mix_nodes = vec![node(1); 101];
        world.directory.publish(Directory { mix_nodes, ..Directory::default() });
        let (status, words) = world.post(json!({ "loops": 100 }).to_string()).await;
        assert!(status == 400 && words.contains("10100 loops in all"), "{words}");
    }
}
