//! Peers, descriptors, and what surrounds the source.

use std::sync::Arc;

use libp2p_identity::PeerId;
use multiaddr::Multiaddr;
use parking_lot::Mutex;
use wakumix_records::descriptor::{Descriptor, DescriptorLimits, PROTOCOL, Request, Response};
use wakumix_role_api::{Requester, Service, host::RequestFailure};
pub(super) use wakumix_role_testkit::{keypair, peer};
use wakumix_sphinx::{PublicKey, Weaknesses};
use wakumix_waku::{
    frame,
    record::{Capabilities, Shards},
};

use crate::{
    LocalRecord,
    peer_report::{PeerReport, SignedRecord},
    sources::{
        descriptors::{DescriptorsConfig, DescriptorsSource},
        test_double::{self, Node, body_of},
    },
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
        limits: DescriptorLimits::default(),
        reassembles: false,
        is_full: false,
    }
}

pub(super) fn sealed(seed: u16) -> Vec<u8> {
    descriptor(seed).seal(&keypair(seed)).unwrap()
}

/// What the peer table knows of a peer whose descriptor it has.
pub(super) fn known(seed: u16) -> PeerReport {
    let Descriptor { peer, issued, expires, addresses, mix_key, capabilities, .. } = descriptor(seed);
    PeerReport {
        addresses,
        mix_key,
        capabilities: Some(capabilities),
        expires: Some(expires),
        record: Some(SignedRecord::Descriptor(sealed(seed))),
        ..PeerReport::new(peer, issued)
    }
}

pub(super) fn local(capabilities: Capabilities) -> LocalRecord {
    LocalRecord {
        addresses: vec![address(ME)],
        capabilities,
        operator: Some("example.org".into()),
        family: vec![peer(1)],
        ..test_double::mixer(ME)
    }
}

pub(super) fn framed(descriptors: Vec<Vec<u8>>) -> Vec<u8> {
    frame::encode(&Response { descriptors }.encode())
}

/// Asks a service as a peer; `None` if it gives no answer.
pub(super) async fn ask(service: &Service, from: Requester, body: Vec<u8>) -> Option<Vec<Vec<u8>>> {
    let answer = test_double::ask(service, from, body).await?;
    Some(Response::decode(&answer).unwrap().descriptors)
}

type Answer = Result<Vec<u8>, RequestFailure>;

/// A running source, and a host that answers as it is told.
pub(super) struct World {
    pub(super) node: Node,
    asked: Arc<Mutex<Vec<(PeerId, Request)>>>,
}

impl World {
    /// Runs the source on tokio's paused clock; wall time follows it from [`NOW`].
    pub(super) fn start(
        config: DescriptorsConfig,
        record: LocalRecord,
        known: Vec<PeerReport>,
        answer: impl Fn(PeerId, Request) -> Answer + Send + 'static,
    ) -> Self {
        tokio::time::pause();
        let start = tokio::time::Instant::now();
        let clock = Arc::new(move || NOW + start.elapsed().as_secs());
        let source = DescriptorsSource::with_clock(config, Weaknesses::NONE, clock);
        let mut node = Node::knowing(ME, record, &source, known);
        let asked = Arc::<Mutex<Vec<_>>>::default();
        let note = Arc::clone(&asked);
        node.answering(move |outbound| {
            assert_eq!(outbound.protocol, PROTOCOL);
            let request = Request::decode(&body_of(&outbound)).unwrap();
            note.lock().push((outbound.peer, request.clone()));
            let _ = outbound.reply.send(answer(outbound.peer, request));
        });
        Self { node, asked }
    }

    /// Lets virtual time pass.
    pub(super) async fn pass(&self, seconds: u64) {
        tokio::time::sleep(std::time::Duration::from_secs(seconds)).await;
    }

    pub(super) fn requests(&self) -> Vec<(PeerId, Request)> {
        self.asked.lock().clone()
    }

    pub(super) fn knows(&self, seed: u16) -> bool {
        self.node.log.lock().known.contains_key(&peer(seed))
    }
}
