//! The running server: its inputs and what it finds.

use std::{net::IpAddr, sync::Arc, time::Duration};

use discv5::{Config, ConfigBuilder, Discv5, Enr, Event, ListenConfig, PermitBanList, ProtocolIdentity};
use enr::NodeId;
use futures::{StreamExt, stream};
use tokio::{
    net::UdpSocket,
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior},
};

use super::{
    Shared, Sockets, bootstrap,
    collect::{Batch, Collector},
    walk::{Pace, is_wanted},
};
use crate::{
    own_record::{OwnRecord, signing_key},
    peer_report::Refusal,
    source::{PeerReports, SourceContext},
};

/// Waku's protocol id and the version of the packets (`spec/waku.md §6.1`).
const WAKU: ProtocolIdentity = ProtocolIdentity { protocol_id: *b"d5waku", protocol_version: [0, 1] };
/// A walk ends by then with what it has; one on a slow network takes less.
const WALK_LIMIT: Duration = Duration::from_secs(10);
/// Nodes that a walk asks at once.
const PARALLEL_QUESTIONS: usize = 6;
/// Nodes that a walk for a kind of node looks for; a bucket's worth.
const WANTED_AT_ONCE: usize = 16;
/// Between two reports.
const BATCH_TIME: Duration = Duration::from_millis(250);
/// Neighbours that are sent a new record; the others get it at their next look-up or ping.
const MAX_TOLD_NEIGHBOURS: usize = 64;
/// Neighbours that are sent it at the same time.
const TOLD_AT_ONCE: usize = 8;
/// Messages between walks and the collector.
const WALK_RESULTS: usize = 4;
/// Between two looks at an empty table.
const EMPTY_WAIT: Duration = Duration::from_secs(1);

/// Serves and walks until it is dropped or discovery ends.
pub(super) async fn run(shared: &Shared, sockets: Sockets<Arc<UdpSocket>>, own: &OwnRecord, context: SourceContext) {
    let mut record = own.subscribe();
    let Some(key) = signing_key(&context.identity) else {
        tracing::warn!("discv5 needs an identity with a secp256k1 key; it stays off");
        return;
    };
    let Ok(Some(first)) = record.wait_for(Option::is_some).await.map(|first| first.clone()) else { return };
    let server = match Discv5::new(first, key, settings(shared, sockets)) {
        Ok(server) => server,
        Err(error) => return tracing::error!(error, "discv5 does not start"),
    };
    let mut server = server;
    if let Err(error) = server.start().await {
        return tracing::error!(?error, "discv5 does not start");
    }
    let Ok(events) = server.event_stream().await else { return };
    let (walked, walks) = mpsc::channel(WALK_RESULTS);
    let server = Server { discv5: &server, shared, own, context: &context };
    // Whichever ends first, discovery has stopped.
    tokio::select! {
        () = server.collect(events, walks) => {}
        () = server.walk(walked) => {}
        () = server.tell(record) => {}
    }
}

/// What the crate is set to.
fn settings(shared: &Shared, Sockets { ip4, ip6 }: Sockets<Arc<UdpSocket>>) -> Config {
    let mut builder = ConfigBuilder::new(ListenConfig::FromSockets { ipv4: ip4, ipv6: ip6 });
    builder.protocol_identity(WAKU).query_timeout(WALK_LIMIT).query_parallelism(PARALLEL_QUESTIONS);
    // An operator's address stays told even while nobody calls.
    builder.auto_nat_listen_duration(None);
    if !shared.config.auto_update {
        builder.disable_enr_update();
    }
    if shared.allow_private {
        // In a test net all nodes have one address: no fault of one may ban the others.
        let mut list = PermitBanList::default();
        list.permit_ips.insert(IpAddr::from([127, 0, 0, 1]));
        builder.permit_ban_list(list);
    } else {
        // 10 of a /24 in the table and 2 in a bucket, as nodes of nwaku (`spec/waku.md §6.1`).
        builder.ip_limit();
    }
    // The crate's packet filter stays off: it bans addresses that forged packets name.
    builder.build()
}

/// What the parts of the source work with.
#[derive(Clone, Copy)]
struct Server<'a> {
    discv5: &'a Discv5,
    shared: &'a Shared,
    own: &'a OwnRecord,
    context: &'a SourceContext,
}

/// A walk that has ended.
struct Walked {
    records: Vec<Enr>,
    /// Told whether it brought news.
    news: tokio::sync::oneshot::Sender<bool>,
}

impl Server<'_> {
    /// Reports what events and walks bring.
    async fn collect(self, mut events: mpsc::Receiver<Event>, mut walks: mpsc::Receiver<Walked>) {
        let reports = &self.context.reports;
        let mut collector = Collector::default();
        // Records that came by events since the last walk ended.
        let mut has_news = false;
        let mut batches = tokio::time::interval(BATCH_TIME);
        batches.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(event) => has_news |= self.on_event(event, &mut collector),
                    None => return,
                },
                Some(Walked { records, news }) = walks.recv() => {
                    for record in &records {
                        has_news |= collector.add(record, Instant::now());
                    }
                    // The walk waits for the answer.
                    let _ = news.send(std::mem::take(&mut has_news));
                }
                _ = batches.tick() => {
                    if !report(reports, collector.take(Instant::now())).await {
                        return;
                    }
                }
            }
        }
    }

    /// Whether the event brings a record that is new.
    fn on_event(self, event: Event, collector: &mut Collector) -> bool {
        match event {
            // Signed by the peer that it is about, wherever it came from and whether or not UDP reaches it.
            Event::Discovered(record) | Event::SessionEstablished(record, _) => collector.add(&record, Instant::now()),
            Event::UnverifiableEnr { enr, .. } => collector.add(&enr, Instant::now()),
            Event::SocketUpdated(address) => {
                let after = self.discv5.local_enr().seq();
                tracing::info!(%address, "others see discv5 of this node at this address; its record says so now");
                self.own.listens(self.own.endpoint().unwrap_or_default().seen_at(address, after));
                false
            }
            _ => false,
        }
    }

    /// Walks to random places, in turns for every node and for wanted ones.
    async fn walk(self, walked: mpsc::Sender<Walked>) {
        let bootstrap = bootstrap::records(&self.shared.config);
        let mut pace = Pace::new();
        let mut is_for_wanted = false;
        loop {
            if self.discv5.with_kbuckets(|table| table.read().iter_ref().next().is_none()) {
                self.begin_from(&bootstrap);
            }
            if self.discv5.with_kbuckets(|table| table.read().iter_ref().next().is_none()) {
                tokio::time::sleep(EMPTY_WAIT).await;
                continue;
            }
            let mut records = self.walk_once(is_for_wanted).await;
            is_for_wanted = !is_for_wanted;
            self.context.reports.looked_up(!records.is_empty());
            // On a busy machine walks end without answers, and the crate drops events that nobody has read in time;
            // whoever asked this node is in its table all the same.
            records.extend(self.discv5.table_entries_enr());
            let (news, answer) = tokio::sync::oneshot::channel();
            if walked.send(Walked { records, news }).await.is_err() {
                return;
            }
            let Ok(has_news) = answer.await else { return };
            let usable = self.context.directory.snapshot().mix_nodes.len();
            tokio::time::sleep(pace.next(has_news, usable, rand::random())).await;
        }
    }

    async fn walk_once(self, is_for_wanted: bool) -> Vec<Enr> {
        let target = NodeId::random();
        let found = if is_for_wanted {
            let wanted = self.shared.wanted.clone();
            let predicate = Box::new(move |record: &Enr| is_wanted(record, &wanted));
            self.discv5.find_node_predicate(target, predicate, WANTED_AT_ONCE).await
        } else {
            self.discv5.find_node(target).await
        };
        found.unwrap_or_default()
    }

    fn begin_from(self, bootstrap: &[Enr]) {
        let me = self.discv5.local_enr().node_id();
        for record in bootstrap.iter().filter(|record| record.node_id() != me) {
            if let Err(error) = self.discv5.add_enr(record.clone()) {
                tracing::debug!(error, "a bootstrap record does not fit into the table");
            }
        }
    }

    /// Answers with the newest own record, and tells neighbours that there is one: the number in a ping makes them ask.
    async fn tell(self, mut record: watch::Receiver<Option<Enr>>) {
        while record.changed().await.is_ok() {
            let Some(new) = record.borrow_and_update().clone() else { continue };
            *self.discv5.external_enr().write() = new;
            let connected = self.discv5.table_entries().into_iter().filter(|(_, _, status)| status.is_connected());
            let pings = connected.take(MAX_TOLD_NEIGHBOURS).map(|(_, neighbour, _)| self.discv5.send_ping(neighbour));
            // Who does not answer asks again when it looks for nodes.
            stream::iter(pings).for_each_concurrent(TOLD_AT_ONCE, |ping| async { drop(ping.await) }).await;
        }
    }
}

/// False when discovery has stopped.
async fn report(reports: &PeerReports, Batch { reports: found, malformed, overflown }: Batch) -> bool {
    for (refusal, count) in [(Refusal::Malformed, malformed), (Refusal::Full, overflown)] {
        if count > 0 {
            reports.refuse(refusal, count);
        }
    }
    found.is_empty() || reports.report(found).await
}
