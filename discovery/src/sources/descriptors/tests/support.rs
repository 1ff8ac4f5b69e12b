//! Peers, descriptors, and what surrounds the source.

#![allow(clippy::disallowed_methods, reason = "a test sees a panic of what it starts: it fails")]

use std::{collections::HashMap, sync::Arc};

use libp2p_identity::PeerId;
use multiaddr::Multiaddr;
use parking_lot::Mutex;
use tokio::sync::{broadcast, watch};
use wakumix_mix::{HopAddress, MixNode};
use wakumix_records::descriptor::{Descriptor, Limits, PROTOCOL, Request, Response};
use wakumix_role_api::{
    Directory, DirectoryPublisher, InboundRequest, Requester, Service,
    host::{HostHandle, HostMessage, OutboundRequest, PeerEvent, RequestFailure},
    mailbox,
};
pub(super) use wakumix_role_testkit::{keypair, peer};
use wakumix_sphinx::{PublicKey, Weaknesses};
use wakumix_waku::{
    frame,
    record::{Capabilities, Shards},
};

use crate::{
    LocalRecord,
    finding::{Finding, Refusal, SignedRecord, SourceName},
    messages::DiscoveryMessage,
    source::{Findings, Source, SourceContext},
    sources::descriptors::{DescriptorsConfig, DescriptorsSource},
};

pub(super) const NOW: u64 = 1_800_000_000;
pub(super) const ME: u16 = 60_000;

pub(super) fn mix_key(seed: u16) -> PublicKey {
    wakumix_role_testkit::mix_key(seed).public()
}

pub(super) fn address(seed: u16) -> Multiaddr {
    let [high, low] = seed.to_be_bytes();
    format!("/ip4/10.1.{high}.{low}/tcp/4000").parse().unwrap()
}

pub(super) fn descriptor(seed: u16) -> Descriptor {
    Descriptor {
        peer: peer(seed),
        issued: NOW - 60,
        expires: NOW + 3600,
        addresses: vec![address(seed)],
        shards: Shards { cluster: 2, shards: vec![0] },
        capabilities: Capabilities::MIX,
        mix_key: Some(mix_key(seed)),
        next_key: None,
        profiles: Vec::new(),
        operator: None,
        family: Vec::new(),
        limits: Limits::default(),
        reassembles: false,
    }
}

pub(super) fn sealed(seed: u16) -> Vec<u8> {
    descriptor(seed).seal(&keypair(seed)).unwrap()
}

/// What the peer table knows of a peer whose descriptor it has.
pub(super) fn known(seed: u16) -> Finding {
    let Descriptor { peer, issued, expires, addresses, mix_key, capabilities, .. } = descriptor(seed);
    Finding {
        addresses,
        mix_key,
        capabilities: Some(capabilities),
        expires: Some(expires),
        record: Some(SignedRecord::Descriptor(sealed(seed))),
        ..Finding::new(peer, issued)
    }
}

pub(super) fn local(capabilities: Capabilities) -> LocalRecord {
    LocalRecord {
        peer: peer(ME),
        addresses: vec![address(ME)],
        hop_address: None,
        capabilities,
        shards: Shards { cluster: 2, shards: vec![0] },
        mix_key: Some(mix_key(ME)),
        next_key: None,
        reassembles: false,
        profiles: Vec::new(),
        operator: Some("example.org".into()),
        family: vec![peer(1)],
    }
}

pub(super) fn framed(descriptors: Vec<Vec<u8>>) -> Vec<u8> {
    frame::encode(&Response { descriptors }.encode())
}

/// Asks a service as a peer; `None` if it gives no answer.
pub(super) async fn ask(service: &Service, from: Requester, body: Vec<u8>) -> Option<Vec<Vec<u8>>> {
    let (respond, answer) = tokio::sync::oneshot::channel();
    service.submit(InboundRequest { protocol: PROTOCOL, from, body, respond });
    answer.await.ok().map(|bytes| Response::decode(&bytes).unwrap().descriptors)
}

/// What the source has told the peer table.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) findings: HashMap<PeerId, Finding>,
    pub(super) reported: usize,
    pub(super) refused: HashMap<Refusal, u64>,
    pub(super) answered: usize,
    pub(super) unanswered: usize,
}

type Answer = Result<Vec<u8>, RequestFailure>;

/// A running source, a peer table that believes everything, and a host that answers as it is told.
pub(super) struct World {
    pub(super) told: Arc<Mutex<Told>>,
    pub(super) asked: Arc<Mutex<Vec<(PeerId, Request)>>>,
    pub(super) events: broadcast::Sender<PeerEvent>,
    pub(super) local: watch::Sender<Arc<LocalRecord>>,
    pub(super) publisher: DirectoryPublisher,
    pub(super) service: Service,
}

impl World {
    /// Runs the source on tokio's paused clock; wall time follows it from [`NOW`].
    pub(super) fn start(
        config: DescriptorsConfig,
        record: LocalRecord,
        known: Vec<Finding>,
        answer: impl Fn(PeerId, Request) -> Answer + Send + 'static,
    ) -> Self {
        tokio::time::pause();
        let start = tokio::time::Instant::now();
        let clock = Arc::new(move || NOW + start.elapsed().as_secs());
        let source = DescriptorsSource::with_clock(config, Weaknesses::NONE, clock);
        let telemetry = wakumix_role_testkit::telemetry(&crate::METRICS);
        let (discovery_address, inbox) = mailbox("discovery", 64, &telemetry);
        let (host_address, host) = mailbox("host", 64, &telemetry);
        let (publisher, directory) = DirectoryPublisher::new();
        let (local, follow_local) = watch::channel(Arc::new(record));
        let events = broadcast::Sender::new(1024);
        let told = Arc::new(Mutex::new(Told::default()));
        told.lock().findings = known.into_iter().map(|finding| (finding.peer, finding)).collect();
        let asked = Arc::default();
        tokio::spawn(discovery_task(inbox.receiver().unwrap(), Arc::clone(&told)));
        tokio::spawn(host_task(host.receiver().unwrap(), Arc::clone(&asked), answer));
        let context = SourceContext {
            findings: Findings::new(SourceName::Descriptors, discovery_address, events.clone()),
            host: HostHandle::new(host_address),
            directory,
            local: follow_local,
            identity: keypair(ME),
            telemetry,
        };
        tokio::spawn(source.run(context));
        let service = source.services().remove(0);
        Self { told, asked, events, local, publisher, service }
    }

    /// Lets virtual time pass.
    pub(super) async fn pass(&self, seconds: u64) {
        tokio::time::sleep(std::time::Duration::from_secs(seconds)).await;
    }

    /// These peers may carry packets.
    pub(super) fn show_pool(&self, seeds: impl IntoIterator<Item = u16>) {
        let node = |seed| {
            let hop = HopAddress::from_multiaddr(&address(seed), peer(seed)).unwrap();
            MixNode::new(hop, mix_key(seed))
        };
        let mix_nodes = seeds.into_iter().map(node).collect();
        self.publisher.publish(Directory { mix_nodes, ..Directory::default() });
    }

    pub(super) fn identify(&self, seed: u16) {
        let protocols = vec![PROTOCOL.to_owned()];
        self.events.send(PeerEvent::Identified { peer: peer(seed), protocols, addresses: Vec::new() }).unwrap();
    }

    pub(super) fn requests(&self) -> Vec<(PeerId, Request)> {
        self.asked.lock().clone()
    }

    pub(super) fn knows(&self, seed: u16) -> bool {
        self.told.lock().findings.contains_key(&peer(seed))
    }
}

async fn discovery_task(mut inbox: wakumix_role_api::Receiver<DiscoveryMessage>, told: Arc<Mutex<Told>>) {
    while let Some(message) = inbox.recv().await {
        let mut told = told.lock();
        match message {
            DiscoveryMessage::Found { findings, done, .. } => {
                told.reported += findings.len();
                told.findings.extend(findings.into_iter().map(|finding| (finding.peer, finding)));
                let _ = done.send(());
            }
            DiscoveryMessage::Refused { refusal, count, .. } => *told.refused.entry(refusal).or_default() += count,
            DiscoveryMessage::LookedUp { answered: true, .. } => told.answered += 1,
            DiscoveryMessage::LookedUp { answered: false, .. } => told.unanswered += 1,
            DiscoveryMessage::Known { reply } => {
                let _ = reply.send(told.findings.values().cloned().collect());
            }
            _ => {}
        }
    }
}

async fn host_task(
    mut inbox: wakumix_role_api::Receiver<HostMessage>,
    asked: Arc<Mutex<Vec<(PeerId, Request)>>>,
    answer: impl Fn(PeerId, Request) -> Answer,
) {
    while let Some(message) = inbox.recv().await {
        if let HostMessage::Request(OutboundRequest { peer, protocol, bytes, reply, .. }) = message {
            assert_eq!(protocol, PROTOCOL);
            let (body, _) = frame::decode(&bytes, usize::MAX).unwrap().unwrap();
            let request = Request::decode(body).unwrap();
            asked.lock().push((peer, request.clone()));
            let _ = reply.send(answer(peer, request));
        }
    }
}
