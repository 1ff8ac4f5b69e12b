//! The shell: takes peer reports, publishes snapshots, has nodes checked, gives the host the list of peers to stay connected to.

mod alone;
mod metrics;
mod tasks;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use libp2p_identity::{Keypair, PeerId};
use multiaddr::{Multiaddr, Protocol};
use parking_lot::Mutex;
use tokio::{
    sync::{broadcast, oneshot, watch},
    time::Instant,
};
use wakumix_role_api::{
    Actor, Context, DirectoryPublisher, DirectoryReader, OnPanic,
    directory::ClockSkew,
    host::{AfterVisit, HostHandle, PeerEvent},
};
use wakumix_telemetry::Telemetry;

use crate::{
    cache::{self, CacheFile},
    clock::{Now, Observer, SkewWatch},
    entry::PeerAddress,
    local::{self, LocalRecord},
    messages::DiscoveryMessage,
    names::{self, Finished, Names},
    own_record::OwnRecord,
    peer_report::{KnownRecord, PeerReport, Refusal, Remembered, SourceName},
    peer_table::{self, Block, CheckOutcome, Node, PeerTable, Rules},
    pool::{self, Checked, Diversity, Guards, MAX_PARALLEL_CHECKS, Schedule, View},
    source::{PeerReports, Source, SourceContext},
    sources::Resolver,
};

use alone::Alone;
pub(crate) use metrics::Metrics;

/// Between two looks at the peer table for what only time changes.
const TICK: Duration = Duration::from_millis(250);
/// Between two snapshots at least; the first change after a quiet time is shown at once. Making one looks at every node
/// of the peer table. Senders wait seconds for an answer: that they learn of a lost connection this much later costs
/// nothing.
const SHOW_PACE: Duration = Duration::from_millis(100);
/// Between two looks at the guards for what only time changes.
const GUARDS_PACE: Duration = Duration::from_secs(10);
/// How old the answer to who asks what is known may be: servers ask for each request.
const KNOWN_PACE: Duration = Duration::from_secs(1);

/// What every instance of the actor is made of.
pub(crate) struct Parts {
    pub(crate) rules: Rules,
    pub(crate) max_connected: usize,
    /// The operator's peers to stay connected to and entries, those of the command line and of calls included.
    pub(crate) written: Mutex<Written>,
    pub(crate) cache: Option<Arc<CacheFile>>,
    /// Packets of others pass through this node.
    pub(crate) forwards: bool,
    /// On a node that sends and does not forward.
    pub(crate) guards: Option<Arc<Guards>>,
    pub(crate) sources: Vec<Arc<dyn Source>>,
    pub(crate) publisher: DirectoryPublisher,
    pub(crate) reader: DirectoryReader,
    pub(crate) host: HostHandle,
    pub(crate) identity: Keypair,
    pub(crate) local: watch::Receiver<Arc<LocalRecord>>,
    pub(crate) own_record: OwnRecord,
    pub(crate) events: broadcast::Sender<PeerEvent>,
    pub(crate) resolver: Resolver,
    pub(crate) telemetry: Telemetry,
    pub(crate) metrics: Metrics,
}

/// What operators have added while the node runs, and must survive a panic. As long as what they call.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) static_peers: Vec<PeerAddress>,
    /// How many of them, the last, were added while the node runs.
    pub(crate) added: usize,
    pub(crate) entries: Vec<PeerReport>,
}

impl Written {
    /// Adds peers to stay connected to, each once. Beyond those of the configuration and as many connections as discovery may keep
    /// the one that was added first gives way.
    fn keep(&mut self, peers: Vec<PeerAddress>, max: usize) {
        for peer in peers {
            if !self.static_peers.contains(&peer) {
                if self.static_peers.len() >= max.max(1) && self.added > 0 {
                    self.static_peers.remove(self.static_peers.len() - self.added);
                    self.added -= 1;
                }
                self.static_peers.push(peer);
                self.added += 1;
            }
        }
    }
}

impl Parts {
    /// Sources, checks, look-ups of names, the own record, the tasks of [`tasks`] with the tick, the wait for the next
    /// snapshot, and the guards on their way to the disk.
    pub(crate) fn task_limit(&self) -> usize {
        self.sources.len() + MAX_PARALLEL_CHECKS + names::PARALLEL + 8
    }

    /// Whether descriptors are taken from anybody: what a check brings is one.
    fn takes_descriptors(&self) -> bool {
        self.sources.iter().any(|source| source.name() == SourceName::Descriptors)
    }

    /// Whether some source looks for nodes that neither the operator nor an earlier run has named.
    fn is_searching(&self) -> bool {
        self.sources
            .iter()
            .any(|source| !matches!(source.name(), SourceName::Static | SourceName::Cache | SourceName::Identify))
    }
}

/// Discovery.
pub(crate) struct Discovery {
    parts: Arc<Parts>,
    /// Derivable: sources tell again, checks reach again; until then the snapshot that was published last stands in.
    table: PeerTable,
    /// Ephemeral.
    schedule: Schedule,
    /// Ephemeral: checks on their way.
    checks: usize,
    /// Derivable.
    names: Names,
    /// Derivable: from the peer table. Read by the task that talks to the host.
    connections: watch::Sender<Vec<Multiaddr>>,
    /// Derivable: the peers in it.
    to_stay: HashSet<PeerId>,
    /// Derivable: what this instance published last, unshuffled.
    shown: Option<View>,
    /// Ephemeral: the peer table may show something else than what was published last.
    is_stale: bool,
    /// Ephemeral: no snapshot is made before; whether [`DiscoveryMessage::Show`] comes then.
    next_show: Instant,
    is_show_due: bool,
    /// Ephemeral: calls that wait for the next snapshot, each held by whoever made it.
    waiting: Vec<oneshot::Sender<()>>,
    /// Derivable: the answer to [`DiscoveryMessage::Known`], when it was made, whether the table has changed since.
    known: Option<(Arc<[KnownRecord]>, Instant)>,
    has_news: bool,
    /// Ephemeral: whether the warning that the peer table is full was logged.
    has_warned: bool,
    /// Ephemeral: whether a node that sends has nobody to send to.
    alone: Alone,
    /// Ephemeral: peers that are checked and were not connected before, on a node with guards.
    visits: HashSet<PeerId>,
    /// Ephemeral: when the guards are looked after next though nothing has happened.
    next_guards: Instant,
    /// Ephemeral: the guards are not on the disk as they are.
    has_new_guards: bool,
    /// Derivable: what checks tell of this machine's clock, and what was said of it.
    clock: SkewWatch,
    skew: Option<ClockSkew>,
}

impl Discovery {
    pub(crate) fn new(parts: Arc<Parts>) -> Self {
        let now = Now::read();
        let mut discovery = Self {
            table: PeerTable::new(parts.rules.clone()),
            schedule: Schedule::new(now.at),
            checks: 0,
            names: Names::default(),
            connections: watch::Sender::new(Vec::new()),
            to_stay: HashSet::new(),
            shown: None,
            is_stale: true,
            next_show: now.at,
            is_show_due: false,
            waiting: Vec::new(),
            known: None,
            has_news: true,
            has_warned: false,
            alone: Alone::default(),
            visits: HashSet::new(),
            next_guards: now.at,
            has_new_guards: false,
            clock: SkewWatch::default(),
            skew: None,
            parts,
        };
        let before = cache::of_snapshot(&discovery.parts.reader.snapshot(), now.unix);
        discovery.remember(SourceName::Cache, before, now);
        let entries = discovery.parts.written.lock().entries.clone();
        discovery.take(SourceName::Static, entries, now);
        discovery
    }

    /// Takes a batch; what breaks a rule is counted and leaves the rest alone.
    fn take(&mut self, source: SourceName, reports: Vec<PeerReport>, now: Now) {
        let mut rng = rand::rng();
        let mut taken = 0;
        for report in reports {
            let report = match self.names.finish(source, report, now.at) {
                Finished::Whole(report) | Finished::Waits(Some(report)) => report,
                Finished::Waits(None) => continue,
                Finished::Refused(refusal) => {
                    self.refused(source, refusal, 1);
                    continue;
                }
            };
            match self.table.report(source, report, now, &mut rng) {
                Ok(is_news) => {
                    taken += 1;
                    self.is_stale |= is_news;
                    self.has_news |= is_news;
                }
                Err(refusal) => self.refused(source, refusal, 1),
            }
        }
        self.parts.metrics.taken(source, taken);
        self.schedule.reconsider();
    }

    fn remember(&mut self, source: SourceName, nodes: Vec<Remembered>, now: Now) {
        let mut rng = rand::rng();
        let mut taken = 0;
        for node in nodes {
            let last_seen = node.last_seen.and_then(|seen| now.instant_of(seen));
            for (told_by, report) in node.records {
                match self.table.remember(told_by, report, last_seen, now, &mut rng) {
                    Ok(()) => taken += 1,
                    Err(refusal) => self.refused(source, refusal, 1),
                }
            }
        }
        self.parts.metrics.taken(source, taken);
        (self.is_stale, self.has_news) = (true, true);
        self.schedule.reconsider();
    }

    fn refused(&mut self, source: SourceName, refusal: Refusal, count: u64) {
        self.parts.metrics.refused(source, refusal, count);
        if refusal == Refusal::Full && !self.has_warned && self.table.is_full() {
            self.has_warned = true;
            let max_nodes = self.parts.rules.max_nodes;
            tracing::warn!(
                max_nodes,
                "the directory is full of nodes that were reached and ignores others; raise its limit"
            );
        }
    }

    fn on_event(&mut self, event: &PeerEvent, now: Now) {
        let mut rng = rand::rng();
        self.is_stale |= match event {
            PeerEvent::Connected { peer, .. } => self.table.connected(*peer, now),
            PeerEvent::Disconnected { peer } => {
                self.table.disconnected(peer, self.to_stay.contains(peer), now, &mut rng)
            }
            PeerEvent::Reached { peer, address } => self.table.reached_at(*peer, address.clone(), now, &mut rng),
            // Guards are peers that this node has reached; for others any connection will do.
            PeerEvent::ReachedLost { peer } => {
                let is_guard = self.parts.guards.is_some() && self.to_stay.contains(peer);
                self.table.reached_lost(peer, is_guard, now, &mut rng)
            }
            PeerEvent::DialFailed { peer, addresses, answered_by } => {
                self.table.dial_failed(peer, addresses, *answered_by, now, &mut rng)
            }
            PeerEvent::Identified { .. } | PeerEvent::Shards { .. } => false,
        };
        self.schedule.reconsider();
    }

    fn on_tick(&mut self, now: Now) {
        let has_changed = self.table.expire(now) | self.hold(now);
        self.is_stale |= has_changed;
        self.has_news |= has_changed;
        self.parts.metrics.update_gauges(&self.table, now);
        self.look_at_clock(now);
        if self.parts.rules.pool.sends {
            let usable = self.shown.as_ref().map_or(0, |view| view.mix_nodes.len());
            let known = || self.table.nodes().filter(|node| node.view.key.is_some()).count();
            self.alone.look(usable, known, now.at);
        }
        if now.at >= self.next_guards {
            self.next_guards = now.at + GUARDS_PACE;
            self.is_stale |= self.update_guards(now);
        }
    }

    /// Who a node counts as where nodes are counted: in the open an operator's entry or its subnet, elsewhere itself.
    fn observer(&self, peer: &PeerId) -> Option<Observer> {
        let node = self.table.get(peer)?;
        if node.is_entry() || self.parts.rules.allow_private {
            return Some(Observer::Peer(*peer));
        }
        let is_subnet = |block: &&Block| matches!(block, Block::Subnet4(_) | Block::Subnet6(_));
        node.blocks.iter().find(is_subnet).copied().map(Observer::Subnet)
    }

    /// Says when this machine's clock is found to be wrong, or right again.
    fn look_at_clock(&mut self, now: Now) {
        let skew = self.clock.skew(now.unix);
        if skew.map(ClockSkew::kind) != self.skew.map(ClockSkew::kind) {
            match skew {
                Some(skew) => tracing::warn!("{skew}"),
                None => tracing::info!("the clock of this machine agrees with those of other nodes again"),
            }
            self.skew = skew;
            self.is_stale = true;
        }
    }

    /// Draws guards, if any are missing; whether there are new ones.
    fn update_guards(&mut self, now: Now) -> bool {
        let operator = self.own_operator();
        let has_new = |guards: &Arc<Guards>| guards.update(&self.table, operator.as_deref(), now);
        let has_new = self.parts.guards.as_ref().is_some_and(has_new);
        self.has_new_guards |= has_new;
        has_new
    }

    /// Has new guards written down.
    fn store_guards(&mut self, context: &Context<DiscoveryMessage>) {
        if let Some(guards) = self.parts.guards.clone().filter(|_| self.has_new_guards) {
            // Without room for it, the next message tries again.
            let is_stored = context.spawn("discovery_guards", OnPanic::FailOwner, guards.store()).is_ok();
            self.has_new_guards = !is_stored;
        }
    }

    /// Keeps out of the pool what its rules keep out; true when that changes anything.
    fn hold(&mut self, now: Now) -> bool {
        let held: HashMap<_, _> = pool::held(&self.table, self.own_operator().as_deref(), now);
        self.table.hold(&held, now)
    }

    /// Starts as many look-ups of names as may run.
    fn look_up(&mut self, context: &Context<DiscoveryMessage>) {
        while let Some(name) = self.names.next() {
            let (resolver, address, asked) =
                (Arc::clone(&self.parts.resolver), context.address().clone(), name.clone());
            let look_up = async move {
                let ips = names::look_up(&resolver, &asked).await;
                // A discovery that has stopped needs no address.
                let _ = address.send(DiscoveryMessage::Resolved { name: asked, ips }).await;
            };
            if context.spawn("discovery_name", OnPanic::FailOwner, look_up).is_err() {
                self.names.answered(name, Vec::new(), Instant::now());
                return;
            }
        }
    }

    /// Starts as many checks as may run.
    fn check(&mut self, now: Now, context: &Context<DiscoveryMessage>) {
        let mut rng = rand::rng();
        let usable = self.shown.as_ref().map_or(0, |view| view.mix_nodes.len());
        while self.checks < pool::parallel_checks(usable) {
            let Some(peer) = self.schedule.next(&self.table, now.at, &mut rng) else { return };
            let known = self.table.get(&peer);
            let is_unverified_peer = !known.is_some_and(Node::is_kept);
            let mixes_by_descriptor = known.is_some_and(Node::mixes_by_descriptor);
            let is_connected = known.is_some_and(|node| node.contact.is_connected);
            let Some(addresses) = self.table.checking(&peer, now) else { continue };
            let (host, address) = (self.parts.host.clone(), context.address().clone());
            let check = async move {
                let check = pool::Check { peer, addresses, is_unverified_peer, mixes_by_descriptor };
                let checked = check.run(&host).await;
                // A discovery that has stopped needs no outcome.
                let _ = address.send(DiscoveryMessage::Checked { peer, checked }).await;
            };
            if context.spawn("discovery_check", OnPanic::FailOwner, check).is_err() {
                self.table.checked(&peer, CheckOutcome::Abandoned, now, &mut rng);
                return;
            }
            self.checks += 1;
            if !self.parts.forwards && !is_connected {
                self.visits.insert(peer);
            }
        }
    }

    /// A node through which packets pass stays with whom a check has visited, because packets may come either way. Others
    /// leave, unless the peer is one to stay connected to: a place that nobody uses is one less for who needs it.
    fn end_visit(&mut self, peer: PeerId, outcome: CheckOutcome, now: Now) {
        if self.parts.forwards {
            if outcome == CheckOutcome::Alive && self.is_in_pool(&peer, now) {
                self.parts.host.end_visit(peer, AfterVisit::KeepOne);
            }
        } else if self.visits.remove(&peer) {
            self.is_stale |= self.update_guards(now);
            if !self.connections().iter().any(|address| peer_of(address) == Some(peer)) {
                self.parts.host.end_visit(peer, AfterVisit::Leave);
            }
        }
    }

    /// Whether the pool has a node: not one of the many of a subnet, a family or a source that has its share.
    fn is_in_pool(&mut self, peer: &PeerId, now: Now) -> bool {
        let is_usable = |table: &PeerTable| table.get(peer).is_some_and(pool::is_usable);
        let is_shown = self.shown.as_ref().is_some_and(|view| view.mix_nodes.iter().any(|node| node.peer() == *peer));
        if !is_shown && is_usable(&self.table) {
            self.is_stale |= self.hold(now);
        }
        is_usable(&self.table)
    }

    /// The peers to stay connected to, by what is known now.
    fn connections(&self) -> Vec<Multiaddr> {
        let Parts { guards, max_connected, written, .. } = &*self.parts;
        let kept = guards.as_ref().map(|guards| guards.to_keep(&self.table));
        pool::connections(&self.table, &written.lock().static_peers, kept.as_deref(), *max_connected)
    }

    /// Publishes what is new, if anything is; then nobody has to wait for it any longer.
    fn show(&mut self) {
        if std::mem::take(&mut self.is_stale) {
            self.hold(Now::read());
            self.publish();
        }
        for done in self.waiting.drain(..) {
            // Whoever waited may be gone.
            let _ = done.send(());
        }
    }

    fn publish(&mut self) {
        self.update_guards(Now::read());
        let Parts { publisher, metrics, guards, .. } = &*self.parts;
        let order = guards.as_ref().map(|guards| guards.order());
        let mut view = View::of(&self.table, self.own_operator().as_deref(), order);
        view.clock = self.skew;
        let connections = self.connections();
        self.to_stay = connections.iter().filter_map(peer_of).collect();
        self.connections.send_if_modified(|current| {
            let is_new = *current != connections;
            *current = connections;
            is_new
        });
        if self.shown.as_ref() != Some(&view) {
            publisher.publish(view.directory(&mut rand::rng(), self.parts.is_searching()));
            metrics.shown(&view.pool, Diversity::of(&view.mix_nodes));
            self.shown = Some(view);
        }
    }

    /// Publishes what is new at once or, where that was done just now, as soon as the pace allows.
    fn show_at_pace(&mut self, now: Now, context: &Context<DiscoveryMessage>) {
        if self.is_stale && now.at < self.next_show {
            self.show_later(context);
            return;
        }
        if self.is_stale {
            self.next_show = now.at + SHOW_PACE;
        }
        self.show();
    }

    fn show_later(&mut self, context: &Context<DiscoveryMessage>) {
        if self.is_show_due {
            return;
        }
        let (next, address) = (self.next_show, context.address().clone());
        let wait = async move {
            tokio::time::sleep_until(next).await;
            // A discovery that has stopped has shown everything.
            let _ = address.send(DiscoveryMessage::Show).await;
        };
        // Without room for it, the next message shows what is new.
        self.is_show_due = context.spawn("discovery_show", OnPanic::FailOwner, wait).is_ok();
    }

    fn known(&mut self, now: Now) -> Arc<[KnownRecord]> {
        match &self.known {
            Some((known, at)) if !self.has_news || now.since(*at) < KNOWN_PACE => Arc::clone(known),
            _ => {
                self.has_news = false;
                let known = peer_table::known(self.table.nodes(), now.unix);
                self.known = Some((Arc::clone(&known), now.at));
                known
            }
        }
    }

    fn own_operator(&self) -> Option<String> {
        self.parts.local.borrow().operator.clone()
    }

    /// Whoever waits for an answer may be gone.
    fn on_message(&mut self, message: DiscoveryMessage, now: Now) {
        match message {
            DiscoveryMessage::Found { source, reports, done } => {
                if source == SourceName::Static {
                    self.write_down(&reports);
                }
                self.take(source, reports, now);
                let _ = done.send(());
            }
            DiscoveryMessage::Remembered { source, nodes, done } => {
                self.remember(source, nodes, now);
                let _ = done.send(());
            }
            DiscoveryMessage::Keep { peers, done } => {
                self.parts.written.lock().keep(peers, self.parts.max_connected);
                self.is_stale = true;
                let _ = done.send(());
            }
            DiscoveryMessage::Shown { done } => self.waiting.push(done),
            DiscoveryMessage::Show => self.is_show_due = false,
            DiscoveryMessage::Refused { source, refusal, count } => self.refused(source, refusal, count),
            DiscoveryMessage::LookedUp { source, answered } => self.parts.metrics.looked_up(source, answered),
            DiscoveryMessage::Known { reply } => drop(reply.send(self.known(now))),
            DiscoveryMessage::Pool { reply } => {
                drop(reply.send(pool::entries(&self.table, self.own_operator().as_deref(), now)));
            }
            DiscoveryMessage::Event(event) => self.on_event(&event, now),
            DiscoveryMessage::Connected(peers) => {
                self.table.set_has_ip4(local::has_ip4());
                self.is_stale |=
                    self.table.set_connected(peers, |peer| self.to_stay.contains(peer), now, &mut rand::rng());
            }
            DiscoveryMessage::Checked { peer, checked: Checked { outcome, told, issued } } => {
                self.checks = self.checks.saturating_sub(1);
                if let Some((observer, issued)) = self.observer(&peer).zip(issued) {
                    self.clock.note(observer, issued, now.unix);
                }
                if let Some(told) = told.filter(|_| self.parts.takes_descriptors()) {
                    self.take(SourceName::Descriptors, vec![*told], now);
                }
                self.parts.metrics.checked(outcome);
                self.is_stale |= self.table.checked(&peer, outcome, now, &mut rand::rng());
                self.end_visit(peer, outcome, now);
            }
            DiscoveryMessage::Resolved { name, ips } => {
                for (source, report) in self.names.answered(name, ips, now.at) {
                    self.take(source, vec![report], now);
                }
            }
            DiscoveryMessage::Memory { reply } => drop(reply.send(cache::of_table(&self.table, now))),
            DiscoveryMessage::Tick => self.on_tick(now),
        }
    }

    /// Keeps the operator's entries for an instance that follows a panic, one per peer and kind.
    fn write_down(&self, reports: &[PeerReport]) {
        let entries = &mut self.parts.written.lock().entries;
        for report in reports {
            let is_same =
                |known: &PeerReport| known.peer == report.peer && known.mix_key.is_some() == report.mix_key.is_some();
            let is_full = entries.len() >= self.parts.rules.max_nodes;
            match entries.iter_mut().find(|known| is_same(known)) {
                Some(known) => *known = report.clone(),
                None if is_full => {}
                None => entries.push(report.clone()),
            }
        }
    }
}

impl Actor for Discovery {
    type Message = DiscoveryMessage;
    const NAME: &'static str = "discovery";

    fn started(&mut self, context: &Context<DiscoveryMessage>) {
        let now = Now::read();
        self.show();
        let Parts { host, reader, local, identity, telemetry, events, .. } = &*self.parts;
        // There is room for exactly these tasks.
        let (to, connections) = (host.clone(), self.connections.clone());
        let _ = context
            .keep("discovery_keep_connected", move || tasks::keep_connected(to.clone(), connections.subscribe()));
        let (from, address) = (events.clone(), context.address().clone());
        let _ = context.keep("discovery_events", move || tasks::follow(from.subscribe(), address.clone()));
        let (to, address) = (host.clone(), context.address().clone());
        let _ = context.keep("discovery_reconcile", move || tasks::reconcile(to.clone(), address.clone()));
        if let Some(cache) = self.parts.cache.clone() {
            let address = context.address().clone();
            let _ = context.keep("discovery_cache", move || tasks::keep_cache(Arc::clone(&cache), address.clone()));
        }
        let (own, me, now_local) = (self.parts.own_record.clone(), identity.clone(), local.clone());
        let _ = context.keep("discovery_record", move || own.clone().follow(me.clone(), now_local.clone()));
        let _ = context.every("discovery_tick", TICK, || DiscoveryMessage::Tick);
        for source in &self.parts.sources {
            let reports = PeerReports::new(source.name(), context.address().clone(), events.clone());
            let surroundings = SourceContext {
                reports,
                host: host.clone(),
                directory: reader.clone(),
                local: local.clone(),
                identity: identity.clone(),
                resolver: Arc::clone(&self.parts.resolver),
                telemetry: telemetry.clone(),
            };
            let (name, source) = (source.name().task(), Arc::clone(source));
            let _ = context.keep(name, move || source.run(surroundings.clone()));
        }
        self.check(now, context);
    }

    fn handle(&mut self, message: DiscoveryMessage, context: &Context<DiscoveryMessage>) {
        let now = Now::read();
        self.on_message(message, now);
        self.look_up(context);
        self.show_at_pace(now, context);
        self.store_guards(context);
        self.check(now, context);
    }

    fn drain(&mut self, _: Instant, _: &Context<DiscoveryMessage>) -> BoxFuture<'static, ()> {
        self.show();
        let nodes = || cache::of_table(&self.table, Now::read());
        let cache = self.parts.cache.clone().map(|cache| tasks::store(cache, nodes()));
        let guards = self.parts.guards.clone().filter(|_| self.has_new_guards).map(Guards::store);
        async move {
            if let Some(cache) = cache {
                cache.await;
            }
            if let Some(guards) = guards {
                guards.await;
            }
        }
        .boxed()
    }
}

/// The peer that a full address ends with.
fn peer_of(address: &Multiaddr) -> Option<PeerId> {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => Some(peer),
        _ => None,
    }
}
