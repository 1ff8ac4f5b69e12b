//! What a source runs between in tests: a host whose requests the test answers, and a discovery that writes everything down.

#![allow(clippy::disallowed_methods, reason = "a test sees a panic of what it starts: it fails")]

use std::{collections::BTreeMap, sync::Arc};

use libp2p_identity::PeerId;
use parking_lot::Mutex;
use rand::{RngExt, rngs::StdRng};
use tokio::{
    sync::{broadcast, oneshot, watch},
    task::JoinHandle,
};
use wakumix_role_api::{
    Directory, DirectoryPublisher, InboundRequest, Receiver, Requester, Service,
    host::{HostHandle, HostMessage, OutboundRequest, PeerEvent, RequestFailure},
    mailbox,
};
pub(super) use wakumix_role_testkit::{keypair as key, peer, secret};
use wakumix_role_testkit::{mix_key, shows};
use wakumix_telemetry::Telemetry;
use wakumix_waku::{
    frame,
    record::{Capabilities, Shards},
};

use crate::{
    local::LocalRecord,
    messages::DiscoveryMessage,
    peer_report::{KnownRecord, PeerReport, SourceName, Standing},
    source::{PeerReports, Source, SourceContext},
};

/// The cluster of everybody in these tests.
pub(super) const CLUSTER: u16 = 2;

/// A mixer that can be reached.
pub(crate) fn mixer(seed: u16) -> LocalRecord {
    let [high, low] = seed.to_be_bytes();
    LocalRecord {
        peer: peer(seed),
        addresses: vec![format!("/ip4/203.0.{high}.{low}/tcp/60000").parse().unwrap()],
        hop_address: None,
        capabilities: Capabilities::MIX,
        shards: Shards { cluster: CLUSTER, shards: vec![0] },
        mix_key: Some(mix_key(seed).public()),
        next_key: None,
        reassembles: false,
        is_full: false,
        profiles: Vec::new(),
        operator: None,
        family: Vec::new(),
    }
}

/// The same without its role.
pub(super) fn sender(seed: u16) -> LocalRecord {
    LocalRecord { capabilities: Capabilities::NONE, mix_key: None, ..mixer(seed) }
}

/// What discovery was told.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) found: Vec<PeerReport>,
    pub(super) refused: BTreeMap<&'static str, u64>,
    pub(super) answered: usize,
    pub(super) unanswered: usize,
    /// What it says that it knows: what the test gave it, and what was found.
    pub(super) known: BTreeMap<PeerId, PeerReport>,
    /// Those of them that it has not reached; the others it has.
    pub(super) standings: BTreeMap<PeerId, Standing>,
}

/// A node that runs one source.
pub(super) struct Node {
    pub(super) peer: PeerId,
    pub(super) events: broadcast::Sender<PeerEvent>,
    pub(super) publisher: DirectoryPublisher,
    pub(super) telemetry: Telemetry,
    pub(super) log: Arc<Mutex<Log>>,
    pub(super) local: watch::Sender<Arc<LocalRecord>>,
    services: Vec<Service>,
    /// `None` where requests are answered by [`Node::answering`].
    host: Option<Receiver<HostMessage>>,
    tasks: [JoinHandle<()>; 2],
}

impl Node {
    /// Starts the source on a paused clock.
    pub(super) fn new(seed: u16, local: LocalRecord, source: &impl Source) -> Self {
        Self::knowing(seed, local, source, Vec::new())
    }

    /// The same, where discovery knows peers.
    pub(super) fn knowing(seed: u16, local: LocalRecord, source: &impl Source, known: Vec<PeerReport>) -> Self {
        let telemetry = wakumix_role_testkit::telemetry(&crate::METRICS);
        let (address, inbox) = mailbox("discovery", 1024, &telemetry);
        let (host, host_inbox) = mailbox("host", 64, &telemetry);
        let (publisher, directory) = DirectoryPublisher::new();
        let (local, local_reader) = watch::channel(Arc::new(local));
        let events = broadcast::Sender::new(1024);
        let context = SourceContext {
            reports: PeerReports::new(source.name(), address, events.clone()),
            host: HostHandle::new(host),
            directory,
            local: local_reader,
            identity: key(seed),
            resolver: Arc::new(|name, _| panic!("{name} is looked up")),
            telemetry: telemetry.clone(),
        };
        let log = Arc::new(Mutex::new(Log { known: by_peer(known), ..Log::default() }));
        let discovery = discovery(inbox.receiver().unwrap(), source.name(), Arc::clone(&log));
        Self {
            peer: peer(seed),
            events,
            publisher,
            telemetry,
            log,
            local,
            services: source.services(),
            host: host_inbox.receiver(),
            tasks: [tokio::spawn(discovery), tokio::spawn(source.run(context))],
        }
    }

    /// A connected peer tells that it speaks a protocol.
    pub(super) fn meets(&self, peer: PeerId, protocol: &str) {
        let protocols = vec![protocol.to_owned()];
        self.events.send(PeerEvent::Identified { peer, protocols, addresses: Vec::new() }).unwrap();
    }

    /// The next request of the source; nobody is connected whom it was not told of.
    pub(super) async fn request(&mut self) -> OutboundRequest {
        next_request(self.host.as_mut().unwrap()).await.expect("the source runs")
    }

    /// From now on requests are answered like this, at once.
    pub(super) fn answering(&mut self, answer: impl Fn(OutboundRequest) + Send + 'static) {
        let mut host = self.host.take().unwrap();
        tokio::spawn(async move {
            while let Some(request) = next_request(&mut host).await {
                answer(request);
            }
        });
    }

    pub(super) fn service(&self) -> &Service {
        self.services.first().expect("the source serves nothing")
    }

    /// Everything that discovery was told up to the next request, which is given back as well.
    pub(super) async fn log_at_next_request(&mut self) -> (Log, OutboundRequest) {
        let request = self.request().await;
        (std::mem::take(&mut *self.log.lock()), request)
    }

    /// What this node answers another one to the body of a request.
    pub(super) async fn serve(&self, from: Requester, body: Vec<u8>) -> Option<Vec<u8>> {
        assert!(body.len() <= self.service().max_request);
        ask(self.service(), from, body).await
    }

    /// Carries a request of this node to another one and the answer back.
    pub(super) async fn carry(&self, request: OutboundRequest, to: &Self) {
        assert_eq!(request.peer, to.peer);
        let answer = to.serve(Requester::Peer(self.peer), body_of(&request)).await;
        let failure = RequestFailure::Stream("no answer".to_owned());
        request.reply.send(answer.map(|body| frame::encode(&body)).ok_or(failure)).unwrap();
    }

    /// These peers may carry packets.
    pub(super) fn show_pool(&self, seeds: impl IntoIterator<Item = u16>) {
        let mix_nodes = seeds.into_iter().map(wakumix_role_testkit::node).collect();
        self.publisher.publish(Directory { mix_nodes, ..Directory::default() });
    }

    pub(super) fn has_metric(&self, line: &str) -> bool {
        shows(&self.telemetry, line)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// The next request to a host that is connected to nobody.
async fn next_request(host: &mut Receiver<HostMessage>) -> Option<OutboundRequest> {
    loop {
        match host.recv().await? {
            HostMessage::Request(request) => return Some(request),
            HostMessage::Peers(reply) => reply.send(Vec::new()).unwrap(),
            other => panic!("unexpected: {other:?}"),
        }
    }
}

/// What is known of peers that were reached.
pub(super) fn reached(reports: impl IntoIterator<Item = PeerReport>) -> Arc<[KnownRecord]> {
    reports.into_iter().map(|report| KnownRecord { report, standing: Standing::Reached }).collect()
}

pub(super) fn by_peer(reports: impl IntoIterator<Item = PeerReport>) -> BTreeMap<PeerId, PeerReport> {
    reports.into_iter().map(|report| (report.peer, report)).collect()
}

/// Asks a service; `None` if it gives no answer.
pub(super) async fn ask(service: &Service, from: Requester, body: Vec<u8>) -> Option<Vec<u8>> {
    let (respond, answer) = oneshot::channel();
    service.submit(InboundRequest { protocol: service.protocol, from, ip: None, body, respond });
    answer.await.ok()
}

/// Honest bytes with a bit changed, cut short, or noise in their place.
pub(super) fn damaged(rng: &mut StdRng, honest: &[u8]) -> Vec<u8> {
    let mut bytes = honest.to_vec();
    match rng.random_range(0..3) {
        0 => {
            let place = rng.random_range(0..bytes.len());
            bytes[place] ^= 1 << rng.random_range(0..8);
        }
        1 => bytes.truncate(rng.random_range(0..bytes.len())),
        _ => {
            bytes = vec![0; rng.random_range(0..600)];
            rng.fill(&mut bytes[..]);
        }
    }
    bytes
}

/// A request without its frame.
pub(super) fn body_of(request: &OutboundRequest) -> Vec<u8> {
    let (body, whole) = frame::decode(&request.bytes, usize::MAX).unwrap().unwrap();
    assert_eq!(whole, request.bytes.len());
    body.to_vec()
}

/// Answers a request with these bytes in a frame.
pub(super) fn answer(request: OutboundRequest, body: &[u8]) {
    request.reply.send(Ok(frame::encode(body))).unwrap();
}

async fn discovery(mut inbox: Receiver<DiscoveryMessage>, expected: SourceName, log: Arc<Mutex<Log>>) {
    while let Some(message) = inbox.recv().await {
        let mut log = log.lock();
        match message {
            DiscoveryMessage::Found { source, reports, done } => {
                assert_eq!(source, expected);
                log.known.extend(by_peer(reports.clone()));
                log.found.extend(reports);
                let _ = done.send(());
            }
            DiscoveryMessage::Refused { refusal, count, .. } => {
                *log.refused.entry(refusal.as_str()).or_default() += count;
            }
            DiscoveryMessage::LookedUp { answered: true, .. } => log.answered += 1,
            DiscoveryMessage::LookedUp { .. } => log.unanswered += 1,
            DiscoveryMessage::Known { reply } => {
                let known = log.known.values().map(|report| {
                    let standing = log.standings.get(&report.peer).copied().unwrap_or(Standing::Reached);
                    KnownRecord { report: report.clone(), standing }
                });
                reply.send(known.collect()).unwrap();
            }
            other => panic!("unexpected: {other:?}"),
        }
    }
}
