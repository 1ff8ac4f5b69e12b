//! The client: asks for node records and reports them.

use std::time::Duration;

use libp2p_identity::PeerId;
use multiaddr::Multiaddr;
use rand::{RngExt, rngs::StdRng, seq::IteratorRandom};
use wakumix_records::{
    node_record::{self, NodeRecordError},
    peer_exchange::{MAX_RECORDS, MAX_RESPONSE, PROTOCOL, Response, Status, encode_request},
};
use wakumix_role_api::host::{ReadRule, RequestFailure};
use wakumix_waku::frame;

use crate::{
    entry::PeerAddress,
    node_record::report,
    peer_report::{PeerReport, Refusal},
    source::SourceContext,
    sources::protocol_peers::ProtocolPeers,
};

/// One exchange, dialling included.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A pool that is smaller than the first number is asked for that often on average; each wait is drawn from half of it to one
/// and a half. No path can be made of fewer than 4 nodes; 32 give a sender some choice; js-waku asks every 30 s.
const EAGERNESS: [(usize, Duration); 2] = [(4, Duration::from_secs(10)), (32, Duration::from_secs(30))];

/// Between two requests when the pool is larger than that.
const SELDOM: Duration = Duration::from_secs(300);

/// The client of one run of the source.
pub(super) struct Client {
    context: SourceContext,
    peers: Vec<PeerAddress>,
    protocol_peers: ProtocolPeers,
    rng: StdRng,
}

impl Client {
    pub(super) fn new(context: SourceContext, peers: Vec<PeerAddress>) -> Self {
        let protocol_peers = ProtocolPeers::new(PROTOCOL, context.reports.peer_events());
        Self { context, peers, protocol_peers, rng: rand::make_rng() }
    }

    /// Runs until discovery has stopped.
    pub(super) async fn run(mut self) {
        // The operator's peers are asked at once; connected peers, when identify has shown their protocols.
        let mut is_first = !self.peers.is_empty();
        loop {
            if !std::mem::take(&mut is_first) {
                let wait = self.wait();
                self.protocol_peers.follow(wait, &mut self.rng).await;
            }
            let Some((peer, addresses)) = self.choose().await else { continue };
            let found = self.ask(peer, addresses).await;
            if !found.is_empty() && !self.context.reports.report(found).await {
                return;
            }
        }
    }

    fn wait(&mut self) -> Duration {
        let pool = self.context.directory.snapshot().mix_nodes.len();
        let wait = EAGERNESS.into_iter().find(|(size, _)| pool < *size).map_or(SELDOM, |(_, wait)| wait);
        self.rng.random_range(wait / 2..wait * 3 / 2)
    }

    /// A random one of the configured peers and the connected ones that speak the protocol.
    async fn choose(&mut self) -> Option<(PeerId, Vec<Multiaddr>)> {
        let configured = self.peers.iter().map(|entry| (entry.peer, vec![entry.address.clone()]));
        let connected = self.protocol_peers.to_ask().into_iter().map(|peer| (peer, Vec::new()));
        match configured.chain(connected).choose(&mut self.rng) {
            Some(chosen) => Some(chosen),
            None => self.protocol_peers.choose(&self.context.host, &mut self.rng).await.map(|peer| (peer, Vec::new())),
        }
    }

    async fn ask(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) -> Vec<PeerReport> {
        let request = encode_request(u64::try_from(MAX_RECORDS).unwrap_or(u64::MAX));
        let read = ReadRule::LengthPrefixed { max: MAX_RESPONSE };
        let bytes = frame::encode(&request);
        let answer = self.context.host.request(peer, addresses, PROTOCOL, bytes, read, TIMEOUT).await;
        self.protocol_peers.note(peer, &answer, &mut self.rng);
        match read_records(answer) {
            Ok(records) => {
                self.context.reports.looked_up(true);
                self.take(&records)
            }
            Err(problem) => {
                self.context.reports.looked_up(false);
                tracing::debug!(%peer, problem, "peer exchange gave no records");
                Vec::new()
            }
        }
    }

    /// Takes records one by one, no more than were asked for.
    fn take(&self, records: &[Vec<u8>]) -> Vec<PeerReport> {
        let me = self.context.local.borrow().peer;
        let refuse = |refusal, count: usize| {
            if count > 0 {
                self.context.reports.refuse(refusal, u64::try_from(count).unwrap_or(u64::MAX));
            }
        };
        refuse(Refusal::TooMany, records.len().saturating_sub(MAX_RECORDS));
        let mut reports = Vec::new();
        for record in records.iter().take(MAX_RECORDS) {
            match node_record::decode(record) {
                Ok(record) if record.peer == me => {}
                Ok(record) => reports.push(report(&record)),
                Err(NodeRecordError::Signature) => refuse(Refusal::Signature, 1),
                Err(NodeRecordError::TooLong) => refuse(Refusal::TooMany, 1),
                Err(_) => refuse(Refusal::Malformed, 1),
            }
        }
        reports
    }
}

fn read_records(answer: Result<Vec<u8>, RequestFailure>) -> Result<Vec<Vec<u8>>, String> {
    let answer = answer.map_err(|failure| failure.to_string())?;
    let (body, _) =
        frame::decode(&answer, MAX_RESPONSE).map_err(|error| error.to_string())?.ok_or("it is cut short")?;
    let Response { status, description, records } = Response::decode(body).map_err(|error| error.to_string())?;
    match status {
        Status::Success => Ok(records),
        other => Err(format!("status {}: {description}", other.code())),
    }
}
