//! Honest newcomers: each has a new identity and dials once.

use std::{collections::BTreeMap, fmt, time::Duration};

use futures::future::join_all;
use libp2p::{
    StreamProtocol, Transport as _,
    core::{
        Endpoint,
        transport::{DialOpts, PortUse},
    },
    identity::Keypair,
    quic,
};
use tokio::time::{Instant, sleep_until, timeout};
use wakumix_integration_tests::{
    CLUSTER, TOPIC,
    net::message,
    peer::{Muxer, RawPeer, read_frame, write_frame},
};
use wakumix_waku::lightpush::{StatusCode, V3_PROTOCOL, v3};

use crate::victim::Target;

/// How long a newcomer waits.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
const LIGHTPUSH: StreamProtocol = StreamProtocol::new(V3_PROTOCOL);

/// How newcomers fared.
pub(super) struct Newcomers(Vec<(&'static str, Result<Duration, String>)>);

/// A newcomer that was let in over TCP.
#[derive(Debug)]
pub(super) struct Visit {
    pub(super) took: Duration,
    /// Whether the message that it pushed was published.
    pub(super) is_published: bool,
}

impl Newcomers {
    /// So many come, spread over the time; `over_both` every other one over QUIC.
    pub(super) async fn come(target: &Target, count: usize, time: Duration, over_both: bool) -> Self {
        let begun = Instant::now();
        let steps = u32::try_from(count).expect("a dozen") + 1;
        let visits = (1..steps).map(|number| async move {
            sleep_until(begun + time * number / steps).await;
            if over_both && number % 2 == 0 {
                ("QUIC", over_quic(target).await)
            } else {
                ("TCP", over_tcp(target).await.map(|visit| visit.took))
            }
        });
        Self(join_all(visits).await)
    }

    pub(super) fn let_in(&self) -> usize {
        self.0.iter().filter(|(_, outcome)| outcome.is_ok()).count()
    }
}

impl fmt::Display for Newcomers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut took: Vec<_> = self.0.iter().filter_map(|(_, outcome)| outcome.as_ref().ok()).collect();
        took.sort_unstable();
        let ms = |took: Option<&&Duration>| took.map_or(0, |took| took.as_millis());
        let (median, slowest) = (ms(took.get(took.len() / 2)), ms(took.last()));
        write!(f, "newcomers: {} of {} let in, median {median} ms, slowest {slowest} ms", took.len(), self.0.len())?;
        let mut kept_out = BTreeMap::<_, usize>::new();
        for (transport, outcome) in &self.0 {
            outcome
                .as_ref()
                .err()
                .into_iter()
                .for_each(|reason| *kept_out.entry((transport, reason)).or_default() += 1);
        }
        for ((transport, reason), count) in kept_out {
            write!(f, "\n    {count} kept out over {transport}: {reason}")?;
        }
        Ok(())
    }
}

/// Connects, is answered about metadata, pushes a message and is answered again.
pub(super) async fn over_tcp(target: &Target) -> Result<Visit, String> {
    let newcomer = RawPeer::start(Muxer::Yamux, CLUSTER).await;
    let (begun, node) = (Instant::now(), target.node.peer());
    let visit = async {
        newcomer.connect(node, target.node.address.multiaddr()).await;
        newcomer.contacts_are(|contacts| contacts.answers.contains_key(&node)).await;
        let push = v3::Request {
            request_id: "newcomer".to_owned(),
            pubsub_topic: Some(TOPIC.to_owned()),
            message: message(format!("{} was here", newcomer.peer_id())),
        };
        let mut stream = newcomer.try_open(node, LIGHTPUSH).await.map_err(|error| format!("lightpush: {error}"))?;
        write_frame(&mut stream, &push.encode()).await.map_err(|error| format!("lightpush, writing: {error}"))?;
        let answer = read_frame(&mut stream).await.map_err(|error| format!("lightpush, reading: {error}"))?;
        let answer = answer.ok_or("lightpush: the stream ended")?;
        v3::Response::decode(&answer).map_err(|error| format!("lightpush: {error}"))
    };
    match timeout(ANSWER_TIMEOUT, visit).await {
        Ok(answer) => Ok(Visit { took: begun.elapsed(), is_published: answer?.status_code == StatusCode::SUCCESS }),
        Err(_) => {
            let contacts = newcomer.contacts();
            let stage = match (contacts.connections.is_empty(), contacts.answers.is_empty()) {
                (true, _) => "not connected",
                (false, true) => "connected, not answered about metadata",
                (false, false) => "connected, not answered by lightpush",
            };
            let dial = contacts.failed_dial.unwrap_or_else(|| "no dial failed".to_owned());
            Err(format!("{stage} after {} s; {} connections ended; {dial}", ANSWER_TIMEOUT.as_secs(), contacts.ended))
        }
    }
}

/// Finishes the handshake.
pub(super) async fn over_quic(target: &Target) -> Result<Duration, String> {
    let mut transport = quic::tokio::Transport::new(quic::Config::new(&Keypair::generate_ed25519()));
    let (begun, opts) = (Instant::now(), DialOpts { role: Endpoint::Dialer, port_use: PortUse::New });
    let dial = transport.dial(target.quic().clone(), opts).map_err(|error| error.to_string())?;
    match timeout(ANSWER_TIMEOUT, dial).await {
        Ok(Ok(_)) => Ok(begun.elapsed()),
        Ok(Err(error)) => Err(format!("{error} after {} ms", begun.elapsed().as_millis())),
        Err(_) => Err(format!("no handshake after {} s", ANSWER_TIMEOUT.as_secs())),
    }
}
