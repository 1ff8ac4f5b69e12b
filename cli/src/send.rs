//! `wakumix send`: one message over the mixnet, by a running node or by one started for it.

mod payload;
#[cfg(test)]
mod tests;

use std::{
    io::Write,
    path::PathBuf,
    time::{Duration, Instant},
};

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use wakumix_mix::MIN_POOL;
use wakumix_node::{
    config::{Flag, Inputs, Loaded, Problem, Timespan, load},
    node::Node,
    rest::lightpush::ExposureJson,
    roles::Roles,
    runtime,
};
use wakumix_role_api::{
    command::one_line,
    sender::{Anonymity, Answer, ClientError, DeliveryPath, PushFailure},
};
use wakumix_waku::{ContentTopic, PubsubTopic, WakuMessage};

use self::payload::PayloadArgs;
use super::{
    Failure,
    rest::{AccessArgs, RestNode},
};

/// How long a node that is started for one message may take to be ready.
const READY_LIMIT: Duration = Duration::from_secs(20);
/// How long it may take to stop.
const STOP_LIMIT: Duration = Duration::from_secs(2);
/// How long a running node may take to answer when no limit is given: its own longest limit unless it is configured
/// otherwise, and a margin.
const HTTP_LIMIT: Duration = Duration::from_secs(70);
/// How much longer a running node may take than the limit that it is given.
const HTTP_MARGIN: Duration = Duration::from_secs(10);

/// Send a message over the mixnet
///
/// Prints the service's status, the code of the outcome, which way the message went and after how many tries, to how many
/// relay peers it went, and its hash. Exit code 0 if it was published. With --via a running sender node is asked over its
/// REST address; with --config a sender node is started from a configuration, sends and stops. WAKUMIX_ variables go over
/// the file; `wakumix config show --defaults` lists what can be set.
///
/// The payload may be any bytes: `wakumix send - < picture.png`, `--file picture.png`, `--hex 00ff`.
#[derive(Debug, clap::Args)]
pub(super) struct SendCommand {
    #[command(flatten)]
    payload: PayloadArgs,
    /// Content topic, e.g. /app/1/name/proto
    #[arg(long, value_name = "TOPIC")]
    content_topic: String,
    /// Pubsub topic, e.g. /waku/2/rs/66/0; left out, the service derives the shard
    #[arg(long, value_name = "TOPIC")]
    pubsub_topic: Option<String>,
    /// required: over the mixnet or not at all; preferred: directly if the mixnet cannot be used, which is said; none:
    /// directly, and the service sees who sends
    #[arg(long, value_enum, hide_possible_values = true, default_value_t, value_name = "HOW")]
    anonymity: Wanted,
    /// How long to wait for the outcome; the node's own limit when left out
    #[arg(long, value_name = "TIME")]
    timeout: Option<Timespan>,
    /// REST address of a running sender node, e.g. http://127.0.0.1:8645
    #[arg(long, value_name = "NODE", conflicts_with = "config")]
    via: Option<String>,
    #[command(flatten)]
    access: AccessArgs,
    /// Configuration of the node to start, TOML or YAML [env: WAKUMIX_CONFIG]
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// How anonymous a message is to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Wanted {
    #[default]
    Required,
    Preferred,
    None,
}

impl From<Wanted> for Anonymity {
    fn from(wanted: Wanted) -> Self {
        match wanted {
            Wanted::Required => Self::Required,
            Wanted::Preferred => Self::Preferred,
            Wanted::None => Self::None,
        }
    }
}

/// What is printed.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    #[serde(default)]
    status: u32,
    /// Stable code: `confirmed`, `published_unconfirmed`, `refused`, or that of a failure.
    #[serde(default)]
    outcome: String,
    /// `mixnet` or `direct`; absent where nothing was published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    way: Option<String>,
    /// Why the mixnet was left out although it was preferred.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fallback: Option<Fallback>,
    /// How often the message was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tries: Option<u32>,
    /// Who saw something of it on the way over the mixnet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exposure: Option<ExposureJson>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    relay_peer_count: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message_hash: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status_desc: Option<String>,
    /// Stable code of a failure before any service answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    round_trip_ms: Option<u64>,
}

/// Why the mixnet could not be used.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Fallback {
    /// The stable code of the failure.
    code: String,
    /// Its words.
    text: String,
}

/// The body of the REST request, with nwaku's names.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PushBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pubsub_topic: Option<&'a str>,
    message: MessageBody<'a>,
    anonymity: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MessageBody<'a> {
    payload: String,
    content_topic: &'a str,
}

impl SendCommand {
    pub(super) fn run(&self, roles: &Roles, out: &mut impl Write) -> Result<(), Failure> {
        self.check()?;
        let payload = self.payload.read()?;
        let outcome = match &self.via {
            Some(node) => self.ask(&RestNode::at(node, self.http_limit(), self.access.read()?)?, &payload)?,
            None => self.start_and_push(roles, payload)?,
        };
        // What came of the message counts more than whether anybody reads it.
        let printed = self.print(&outcome, out);
        if outcome.status != 200 {
            return Err(Failure::while_running(outcome.failure()));
        }
        if self.anonymity == Wanted::Required && outcome.way.as_deref() != Some("mixnet") {
            // Another server, or a node of nwaku, which knows no anonymity and pushes.
            let message = "NOT known to be anonymous: the node does not say that the message went over the mixnet";
            let help = "check that --via is the REST address of a wakumix node with the sender role";
            return Err(Failure::Runtime(Problem::new(message, help)));
        }
        printed
    }

    fn check(&self) -> Result<(), Failure> {
        let bad = |name: &str, error: &dyn std::fmt::Display, help: &str| {
            Failure::Input(Problem::new(format!("{name}: {error}"), help).into())
        };
        ContentTopic::parse(&self.content_topic)
            .map_err(|error| bad("--content-topic", &error, "write it as /app/1/name/proto"))?;
        if let Some(topic) = &self.pubsub_topic {
            PubsubTopic::parse(topic).map_err(|error| bad("--pubsub-topic", &error, "write it as /waku/2/rs/66/0"))?;
        }
        if self.timeout.is_some_and(|timeout| timeout.as_millis() == 0) {
            return Err(bad("--timeout", &"no time is left for an answer", "write it as 30s"));
        }
        Ok(())
    }

    fn http_limit(&self) -> Duration {
        self.timeout.map_or(HTTP_LIMIT, |timeout| timeout.as_duration().saturating_add(HTTP_MARGIN))
    }

    fn body(&self, payload: &[u8]) -> PushBody<'_> {
        PushBody {
            pubsub_topic: self.pubsub_topic.as_deref(),
            message: MessageBody { payload: BASE64.encode(payload), content_topic: &self.content_topic },
            anonymity: Anonymity::from(self.anonymity).as_str(),
            timeout_ms: self.timeout.map(Timespan::as_millis),
        }
    }

    /// Asks a running node.
    fn ask(&self, node: &RestNode, payload: &[u8]) -> Result<Outcome, Failure> {
        let body = self.body(payload);
        let started = Instant::now();
        let answer = node.post("/lightpush/v3/message", &body)?;
        let status = u32::from(answer.status());
        let mut outcome: Outcome = answer.json("lightpush outcome")?;
        outcome.status = status;
        outcome.round_trip_ms = u64::try_from(started.elapsed().as_millis()).ok();
        Ok(outcome)
    }

    /// Starts a sender node from the configuration and pushes through it.
    fn start_and_push(&self, roles: &Roles, payload: Vec<u8>) -> Result<Outcome, Failure> {
        let mut inputs = Inputs { file: self.config.clone(), roles: roles.clone(), ..Inputs::from_process() };
        if inputs.file().is_none() {
            let help = "name a running sender node, such as --via http://127.0.0.1:8645, or a configuration file";
            return Err(Failure::Input(Problem::new("neither --via nor --config is given", help).into()));
        }
        // Whatever the file says, this node only sends and serves nobody.
        for (name, value) in [("roles", "sender"), ("rest", "false"), ("metrics-server", "false")] {
            inputs.flags.push(Flag { name: name.to_owned(), values: vec![value.to_owned()] });
        }
        let loaded = load(&inputs)?;
        if !loaded.config.core_dumps {
            runtime::keep_memory_private().map_err(Failure::while_running)?;
        }
        runtime::block_on(self.push(&loaded, payload)).map_err(Failure::while_running)?
    }

    async fn push(&self, loaded: &Loaded, payload: Vec<u8>) -> Result<Outcome, Failure> {
        let node = Node::start(loaded).await.map_err(|error| {
            let help = "if a node with this configuration runs already, use --via and its REST address";
            Failure::Runtime(Problem::new(error.to_string(), help))
        })?;
        let outcome = match node.sender() {
            Some(sender) => {
                // A pool that can never be large enough, or no service: the push says so at once.
                let can_be_ready = loaded.config.mixnode.len() >= MIN_POOL && !loaded.config.lightpushnode.is_empty();
                if self.anonymity != Wanted::None && can_be_ready {
                    wait_until_ready(&node).await;
                }
                let (anonymity, limit) = (self.anonymity.into(), self.timeout.map(Timespan::as_duration));
                sender.push_as(anonymity, self.message(payload), self.pubsub_topic.clone(), None, limit).await
            }
            None => Err(PushFailure::Client(ClientError::Stopped)),
        };
        node.stop(STOP_LIMIT).await;
        Ok(outcome.map_or_else(|failure| Outcome::from(&failure), Outcome::from))
    }

    fn message(&self, payload: Vec<u8>) -> WakuMessage {
        WakuMessage { payload, content_topic: self.content_topic.clone(), ..WakuMessage::default() }
    }

    fn print(&self, outcome: &Outcome, out: &mut impl Write) -> Result<(), Failure> {
        if self.json {
            let text = serde_json::to_string_pretty(outcome).map_err(std::io::Error::from)?;
            writeln!(out, "{text}")?;
        } else {
            outcome.write(out)?;
        }
        Ok(())
    }
}

impl Outcome {
    /// What people read: that the mixnet was left out, whatever came of it, and what was published. A failure is told on
    /// standard error. Texts are those of the node, of an exit or of a service: none of them makes its own line.
    fn write(&self, out: &mut impl Write) -> std::io::Result<()> {
        if let Some(Fallback { code, text }) = &self.fallback {
            writeln!(
                out,
                "NOT anonymous: sent directly, because the mixnet could not be used: {} ({})",
                one_line(text),
                one_line(code)
            )?;
        }
        if self.status != 200 {
            return Ok(());
        }
        match self.relay_peer_count {
            Some(1) => writeln!(out, "status 200: published to 1 relay peer")?,
            Some(count) => writeln!(out, "status 200: published to {count} relay peers")?,
            None => writeln!(out, "status 200: published")?,
        }
        // A node of an older version tells no code.
        if !self.outcome.is_empty() {
            writeln!(out, "{}", self.describe())?;
        }
        if let Some(ExposureJson { guards, exits, packets, reply_paths }) = &self.exposure {
            writeln!(
                out,
                "seen by {}, read by {}; {}, {}",
                counted(*guards, "guard"),
                counted(*exits, "exit"),
                counted(*packets, "packet"),
                counted(*reply_paths, "reply path")
            )?;
        }
        if let Some(hash) = &self.message_hash {
            writeln!(out, "message hash {}", one_line(hash))?;
        }
        if let Some(round_trip) = self.round_trip_ms {
            writeln!(out, "answered after {round_trip} ms")?;
        }
        Ok(())
    }

    /// `confirmed over the mixnet at the second try`, as far as it is known.
    fn describe(&self) -> String {
        let way = match self.way.as_deref() {
            Some("mixnet") => " over the mixnet",
            Some("direct") => " directly",
            _ => "",
        };
        let tries = self.tries.map(|tries| format!(", {tries} {}", if tries == 1 { "try" } else { "tries" }));
        format!("{}{way}{}", one_line(&self.outcome), tries.unwrap_or_default())
    }

    /// One line for standard error.
    fn failure(&self) -> String {
        let words = one_line(self.status_desc.as_deref().unwrap_or("no description"));
        match &self.error {
            Some(code) => format!("{words} ({})", one_line(code)),
            None => format!("the service answered {}: {words}", self.status),
        }
    }
}

/// `1 exit`, `2 exits`.
fn counted(count: u32, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

impl From<Answer> for Outcome {
    fn from(answer: Answer) -> Self {
        let (outcome, exposure) = (answer.kind().to_owned(), ExposureJson::of(&answer));
        let (way, failure) = match answer.path {
            DeliveryPath::Mixnet => ("mixnet", None),
            DeliveryPath::Direct(failure) => ("direct", failure),
        };
        Self {
            status: answer.status,
            outcome,
            way: Some(way.to_owned()),
            fallback: failure.map(|failure| Fallback { code: failure.kind().to_owned(), text: failure.to_string() }),
            tries: Some(answer.tries),
            exposure,
            relay_peer_count: answer.relay_peer_count,
            message_hash: answer.message_hash.map(|hash| format!("0x{}", hex::encode(hash))),
            status_desc: answer.description,
            error: None,
            round_trip_ms: u64::try_from(answer.round_trip.as_millis()).ok(),
        }
    }
}

impl From<&PushFailure> for Outcome {
    fn from(failure: &PushFailure) -> Self {
        let code = failure.kind().to_owned();
        let tries = failure.tries_until_deadline();
        let status_desc = Some(failure.to_string());
        Self { status_desc, outcome: code.clone(), error: Some(code), tries, ..Self::default() }
    }
}

/// Waits until the sender has a pool and the node a connection. A node that does not become ready still tries, because
/// the push then says what is missing.
async fn wait_until_ready(node: &Node) {
    let ready = async {
        loop {
            let connected = node.host().status().await.is_some_and(|status| status.connected_peers > 0);
            if connected && node.missing().is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    // The limit having passed, the push is tried all the same.
    let _ = tokio::time::timeout(READY_LIMIT, ready).await;
}
