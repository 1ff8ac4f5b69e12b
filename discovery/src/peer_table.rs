//! The peer table: merges the peer reports of all sources, without I/O, clock or randomness.
//!
//! A peer has one slot for each source that tells of it. Within a slot a newer record replaces, field by field, what it
//! tells; an older one is a replay and refused. What the slots tell together is decided field by field, too, by the order
//! of [`Trust`](slot::Trust):
//!
//! | order | source | why |
//! |---|---|---|
//! | 1 | the operator's entries | written by who runs this node |
//! | 2 | descriptors | signed by the peer, complete, with an expiry |
//! | 3 | node records: discv5, peer exchange, DNS lists | signed by the peer; the highest sequence number of them |
//! | 4 | service discovery | signed, passed around |
//! | 5 | rendezvous | signed, passed around |
//! | 6 | identify and metadata | said by the peer over a connection that this node opened; services and shards only |
//!
//! Addresses are joined in that order, and what an operator's entry says a peer offers with what the peer itself says in its
//! records and over connections.
//! What an earlier run was told stands where its source stands, until that source says something newer. A descriptor that
//! this run has received counts for more in two things:
//!
//! | field | rule | why |
//! |---|---|---|
//! | mix key, formats, reassembly | it stands before an operator's entry | entries are not rewritten when a key rotates or a node is upgraded |
//! | hop address | only its addresses and the operator's are put into headers, and a mix node is dialled there | it lists all of the peer's addresses, older records those where it was once |
//!
//! A key that a descriptor announced takes over at its date without another word; a record is read as what it has become at
//! the time of reading. A key that a descriptor has replaced does not come back from any other source.
//!
//! | bound | what | overflow |
//! |---|---|---|
//! | `max_nodes` | nodes in all | a node that was neither reached nor written by the operator leaves, at random; if there is none the new one is refused |
//! | a quarter of that | nodes of one source that were not reached | one of them leaves, those tried in vain first |
//! | 16 an address, 64 a /24 | nodes neither reached nor tried yet | the new one is refused; not where private addresses are allowed |

mod address_filter;
mod contact;
mod held;
mod known;
mod node;
mod quota;
mod rules;
mod slot;
mod state;
mod subnet_limits;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use libp2p_identity::PeerId;
use multiaddr::Multiaddr;
use rand::{Rng, RngExt};
use tokio::time::Instant;
use wakumix_role_api::directory::PoolState;
use wakumix_waku::record::Capabilities;

use crate::{
    clock::Now,
    peer_report::{PeerReport, Refusal, SourceName, UnixSeconds},
};

pub(crate) use address_filter::believable;
pub(crate) use contact::{CheckOutcome, Contact};
pub(crate) use held::Held;
pub(crate) use known::known;
pub(crate) use node::{Node, Rank};
pub(crate) use rules::Rules;
pub(crate) use slot::Slot;
pub(crate) use state::{formats, reason};
pub(crate) use subnet_limits::Block;

pub use rules::PoolConfig;

use contact::{LONGEST_BACK_OFF, LONGEST_BACK_OFF_OF_NEEDED};
use held::{LONGEST_WAIT_IN_OUTAGE, Outage};
use quota::{Quota, Verdict};
use state::{is_alive, state_of};
use subnet_limits::SubnetLimits;

/// Members of one family that a record may list, and wire profiles. Descriptors hold 16 and 8.
const MAX_LISTED: usize = 16;
/// Failures in a row after which a node that was never reached is forgotten: some ten minutes of trying.
const GIVE_UP: u32 = 6;
/// The same of one that was reached, and then said that it has moved: some three hours.
const GIVE_UP_MOVED: u32 = 24;
/// Usable nodes below which the operator's entries are tried all the time: as many as guards are sampled from at least, so that
/// paths have a choice.
const ENOUGH_USABLE: usize = 6;
/// A node that has not been reached for so long is forgotten, unless the operator wrote it down.
const FORGET_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
/// A node whose every record has been over for so long is forgotten.
const FORGET_EXPIRED_AFTER: UnixSeconds = 60 * 60;

/// The merged knowledge.
#[derive(Debug)]
pub(crate) struct PeerTable {
    rules: Rules,
    nodes: HashMap<PeerId, Node>,
    quota: Quota,
    subnet_limits: SubnetLimits,
    /// Peers that are connected now, known or not, and where this node reached them over its own connection. Bounded
    /// by the connections that the host accepts.
    connected: HashMap<PeerId, Option<Multiaddr>>,
    outage: Outage,
    entries: u64,
}

impl PeerTable {
    pub(crate) fn new(rules: Rules) -> Self {
        let quota = Quota::new(rules.max_nodes);
        Self {
            rules,
            nodes: HashMap::new(),
            quota,
            subnet_limits: SubnetLimits::default(),
            connected: HashMap::new(),
            outage: Outage::default(),
            entries: 0,
        }
    }

    /// Whether this node has a route to IPv4 addresses from now on.
    pub(crate) fn set_has_ip4(&mut self, has_ip4: bool) {
        self.rules.has_ip4 = has_ip4;
    }

    pub(crate) fn rules(&self) -> &Rules {
        &self.rules
    }

    pub(crate) fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    pub(crate) fn get(&self, peer: &PeerId) -> Option<&Node> {
        self.nodes.get(peer)
    }

    /// Nodes in all.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is room for no more nodes.
    pub(crate) fn is_full(&self) -> bool {
        self.nodes.len() >= self.rules.max_nodes
    }

    /// Nodes that were not reached and are no entries.
    pub(crate) fn unverified(&self) -> usize {
        self.quota.len()
    }

    /// Takes one record; true when it tells anything new.
    ///
    /// # Errors
    /// The rule that it breaks; it is then as if it had not come, but for a record that says that the peer is no longer
    /// of use: what its source told before is forgotten.
    pub(crate) fn report<R: Rng + ?Sized>(
        &mut self,
        source: SourceName,
        report: PeerReport,
        now: Now,
        rng: &mut R,
    ) -> Result<bool, Refusal> {
        let report = self.screen(source, report, now)?;
        self.admit(source, &report, now, rng)?;
        self.change(report.peer, now, |node| node.take(source, report, now.unix)).unwrap_or(Ok(false))
    }

    /// Takes what an earlier run, or an instance that panicked, knew of a peer.
    pub(crate) fn remember<R: Rng + ?Sized>(
        &mut self,
        source: SourceName,
        report: PeerReport,
        last_seen: Option<Instant>,
        now: Now,
        rng: &mut R,
    ) -> Result<(), Refusal> {
        let report = self.screen(source, report, now)?;
        self.admit(source, &report, now, rng)?;
        let taken = self.change(report.peer, now, |node| {
            // Its records come one after the other, all with the same time. What this run has seen is newer.
            let counts = !node.contact.was_seen() || node.contact.last_seen == last_seen;
            node.remember(source, report, now.unix);
            node.is_remembered = true;
            if let Some(seen) = last_seen.filter(|_| counts) {
                node.contact.seen(node.hop_place(), seen);
            }
        });
        taken.ok_or(Refusal::Full)
    }

    /// A peer was reached where it says that it is.
    fn reached<R: Rng + ?Sized>(&mut self, peer: &PeerId, now: Now, rng: &mut R) -> bool {
        let config = self.rules.pool.clone();
        let reached = self.change(*peer, now, |node| {
            let was_gone = node.contact.failures > 0;
            node.contact.reached(node.hop_place(), now.at, &config, rng);
            was_gone && node.is_kept()
        });
        if reached == Some(true) && self.outage.is_on() {
            self.try_the_others(now);
        }
        reached.is_some()
    }

    /// One of many that were gone is back, so perhaps it was this node that was cut off: the others are tried at once.
    fn try_the_others(&mut self, now: Now) {
        for node in self.nodes.values_mut().filter(|node| node.is_kept() && node.contact.is_blamed()) {
            node.contact.due = Some(now.at);
        }
    }

    /// The first connection to a peer is up, whoever opened it.
    pub(crate) fn connected(&mut self, peer: PeerId, now: Now) -> bool {
        self.connected.entry(peer).or_default();
        let came = |node: &mut Node| {
            node.contact.is_connected = true;
            if node.is_kept() {
                node.contact.came(now.at);
            }
        };
        self.change(peer, now, came).is_some()
    }

    /// A peer has spoken over a connection that this node opened to that address. It counts if the peer itself says that
    /// it is there: others may have said so, too, and what listens there for a while is not where it is found later.
    pub(crate) fn reached_at<R: Rng + ?Sized>(&mut self, peer: PeerId, at: Multiaddr, now: Now, rng: &mut R) -> bool {
        let is_there = self.get(&peer).is_some_and(|node| node.places(self.rules.has_ip4).contains(&at));
        self.connected.insert(peer, Some(at));
        if !is_there {
            return self.change(peer, now, |node| node.contact.is_connected = true).is_some();
        }
        self.change(peer, now, |node| {
            node.contact.is_connected = true;
            node.contact.is_dialled = true;
        });
        self.reached(&peer, now, rng)
    }

    /// The connections that this node opened to a peer are gone, and it is still connected. `was_to_stay`: this node
    /// wants to be connected to it.
    pub(crate) fn reached_lost<R: Rng + ?Sized>(
        &mut self,
        peer: &PeerId,
        was_to_stay: bool,
        now: Now,
        rng: &mut R,
    ) -> bool {
        if let Some(at) = self.connected.get_mut(peer) {
            *at = None;
        }
        self.change(*peer, now, |node| node.contact.lost(was_to_stay, now.at, rng)).is_some()
    }

    /// The last connection to a peer is gone.
    pub(crate) fn disconnected<R: Rng + ?Sized>(
        &mut self,
        peer: &PeerId,
        was_to_stay: bool,
        now: Now,
        rng: &mut R,
    ) -> bool {
        self.connected.remove(peer);
        let gone = self.change(*peer, now, |node| {
            node.contact.is_connected = false;
            node.contact.lost(was_to_stay, now.at, rng);
        });
        gone.is_some()
    }

    /// These are connected now, whatever events were missed.
    pub(crate) fn set_connected<R: Rng + ?Sized>(
        &mut self,
        peers: Vec<PeerId>,
        is_to_stay: impl Fn(&PeerId) -> bool,
        now: Now,
        rng: &mut R,
    ) -> bool {
        let peers: HashSet<_> = peers.into_iter().collect();
        let new: Vec<_> = peers.iter().filter(|peer| !self.connected.contains_key(peer)).copied().collect();
        let lost: Vec<_> = self.connected.keys().filter(|peer| !peers.contains(peer)).copied().collect();
        let mut has_changed = false;
        for peer in new {
            has_changed |= self.connected(peer, now);
        }
        for peer in &lost {
            has_changed |= self.disconnected(peer, is_to_stay(peer), now, rng);
        }
        has_changed
    }

    /// No address of a peer answered, of those that were dialled. It counts if one of them is where the peer has to be
    /// reached: packets name peers and addresses, and nobody is to be blamed for an address that somebody else made up. A
    /// dial that belongs to a check is counted by the check. `answered_by`: another peer was there.
    pub(crate) fn dial_failed<R: Rng + ?Sized>(
        &mut self,
        peer: &PeerId,
        addresses: &[Multiaddr],
        answered_by: Option<PeerId>,
        now: Now,
        rng: &mut R,
    ) -> bool {
        let has_ip4 = self.rules.has_ip4;
        let is_there = |node: &Node| node.places(has_ip4).iter().any(|place| addresses.contains(place));
        if answered_by.is_some() && self.get(peer).is_some_and(is_there) {
            self.change(*peer, now, |node| node.contact.impostor = answered_by);
        }
        let is_counted = self.get(peer).is_some_and(|node| {
            let Contact { is_checking, is_dialled, .. } = node.contact;
            !is_checking && !is_dialled && is_there(node)
        });
        let longest = self.longest_wait(peer);
        is_counted
            && self.change(*peer, now, |node| node.contact.failed(node.is_kept(), longest, now.at, rng)).is_some()
    }

    /// Between two tries of a peer at most.
    fn longest_wait(&self, peer: &PeerId) -> Duration {
        let Some(node) = self.get(peer).filter(|node| node.is_kept()) else { return LONGEST_BACK_OFF };
        if node.is_entry() && self.is_small() {
            LONGEST_BACK_OFF_OF_NEEDED
        } else if self.outage.is_on() {
            LONGEST_WAIT_IN_OUTAGE
        } else {
            LONGEST_BACK_OFF
        }
    }

    /// Whether this node sends, and has fewer nodes for that than it could use.
    fn is_small(&self) -> bool {
        let usable = self.nodes().filter(|node| matches!(node.state, Some((PoolState::Usable, _))));
        self.rules.pool.sends && usable.take(ENOUGH_USABLE).count() < ENOUGH_USABLE
    }

    /// A check of the peer starts; where it is tried.
    pub(crate) fn checking(&mut self, peer: &PeerId, now: Now) -> Option<Vec<Multiaddr>> {
        let has_ip4 = self.rules.has_ip4;
        self.change(*peer, now, |node| {
            node.contact.is_checking = true;
            node.contact.tried_at = node.hop_place();
            node.places(has_ip4)
        })
    }

    /// A check has ended.
    pub(crate) fn checked<R: Rng + ?Sized>(
        &mut self,
        peer: &PeerId,
        outcome: CheckOutcome,
        now: Now,
        rng: &mut R,
    ) -> bool {
        let longest = self.longest_wait(peer);
        let is_there = self.change(*peer, now, |node| {
            node.contact.is_checking = false;
            let is_where_it_was = node.contact.tried_at.take() == node.hop_place();
            match outcome {
                CheckOutcome::Alive if is_where_it_was => return true,
                CheckOutcome::Failed | CheckOutcome::NotMixing | CheckOutcome::HungUp if is_where_it_was => {
                    node.contact.says_no = outcome == CheckOutcome::NotMixing;
                    node.contact.hangs_up = outcome == CheckOutcome::HungUp;
                    node.contact.failed(node.is_kept(), longest, now.at, rng);
                }
                CheckOutcome::Abandoned => node.contact.postpone(now.at, rng),
                _ => node.contact.due = None,
            }
            false
        });
        match is_there {
            Some(true) => self.reached(peer, now, rng),
            changed => changed.is_some(),
        }
    }

    /// Whether a node has to wait because most of those known before are gone.
    pub(crate) fn is_unverified_peer_in_outage(&self, node: &Node, now: Now) -> bool {
        self.outage.holds(node, now.at)
    }

    /// Keeps these nodes out of the pool and no others; true when that changes anything.
    pub(crate) fn hold(&mut self, held: &HashMap<PeerId, Held>, now: Now) -> bool {
        let mut has_changed = false;
        for node in self.nodes.values_mut() {
            let held = held.get(&node.peer).copied();
            if node.held != held {
                node.held = held;
                has_changed |= judge(node, &self.rules, now);
            }
        }
        has_changed
    }

    /// Whether this node uses a peer for anything and so has to know whether it is alive, and can find out.
    pub(crate) fn is_wanted(&self, node: &Node) -> bool {
        let offers = |what| node.view.capabilities.is_some_and(|own| own.contains(what));
        let is_of_use = node.view.mixes
            || (node.is_entry() && offers(Capabilities::LIGHTPUSH))
            || (self.rules.relays && offers(Capabilities::RELAY));
        is_of_use && !node.places(self.rules.has_ip4).is_empty()
    }

    /// Lets keys turn, records run out and nodes be forgotten; true when anything changed.
    pub(crate) fn expire(&mut self, now: Now) -> bool {
        let turning: Vec<_> = self.nodes().filter(|node| node.is_turning(now.unix)).map(|node| node.peer).collect();
        for peer in &turning {
            self.change(*peer, now, |node| node.turn(now.unix));
        }
        let mut changed = !turning.is_empty();
        for node in self.nodes.values_mut() {
            changed |= judge(node, &self.rules, now);
        }
        let gone: Vec<_> = self.nodes().filter(|node| is_gone(node, now)).map(|node| node.peer).collect();
        gone.iter().for_each(|peer| self.remove(peer));
        self.outage.look(self.nodes.values(), now.at);
        changed || !gone.is_empty()
    }

    /// Form, times, cluster, addresses and use of a record.
    fn screen(&mut self, source: SourceName, mut report: PeerReport, now: Now) -> Result<PeerReport, Refusal> {
        // What a peer says over a connection adds to what is known of it, and is not how nodes are found.
        let is_word_of_unverified_peer = source == SourceName::Identify && !self.nodes.contains_key(&report.peer);
        if report.peer == self.rules.me || is_word_of_unverified_peer {
            return Err(Refusal::Irrelevant);
        }
        if report.expires.is_some_and(|expires| expires <= now.unix) {
            return Err(Refusal::Expired);
        }
        report.family.truncate(MAX_LISTED);
        report.profiles.iter_mut().for_each(|profiles| profiles.truncate(MAX_LISTED));
        if source == SourceName::Static {
            // What the operator wrote runs out when the operator says so.
            report.expires = None;
            return Ok(report);
        }
        if let Err(refusal) = self.is_of_use(source, &report) {
            self.withdraw(source, &report, now);
            return Err(refusal);
        }
        self.screen_addresses(report)
    }

    /// Records of node lists that are not of mix nodes alone have to say their cluster and what they offer.
    fn is_of_use(&self, source: SourceName, report: &PeerReport) -> Result<(), Refusal> {
        let is_list_of_all = matches!(source, SourceName::Discv5 | SourceName::PeerExchange | SourceName::Dns);
        let is_ours = report.shards.as_ref().map_or(!is_list_of_all, |shards| shards.cluster == self.rules.cluster);
        if !is_ours {
            return Err(Refusal::Cluster);
        }
        let useful = [Capabilities::MIX, Capabilities::RELAY, Capabilities::LIGHTPUSH, Capabilities::STORE];
        let offers_nothing = |own: Capabilities| !useful.into_iter().any(|useful| own.contains(useful));
        match report.capabilities {
            Some(own) if offers_nothing(own) && report.mix_key.is_none() => Err(Refusal::Irrelevant),
            None if is_list_of_all && report.mix_key.is_none() => Err(Refusal::Irrelevant),
            _ => Ok(()),
        }
    }

    fn screen_addresses(&self, mut report: PeerReport) -> Result<PeerReport, Refusal> {
        let told = report.addresses.len();
        let addresses = std::mem::take(&mut report.addresses);
        report.addresses = believable(addresses, &report.peer, self.rules.allow_private, PeerReport::MAX_ADDRESSES);
        let is_unreachable = report.addresses.is_empty() && (told > 0 || !self.nodes.contains_key(&report.peer));
        if is_unreachable { Err(Refusal::Address) } else { Ok(report) }
    }

    /// Whether there is room for a record; makes it.
    fn admit<R: Rng + ?Sized>(
        &mut self,
        source: SourceName,
        report: &PeerReport,
        now: Now,
        rng: &mut R,
    ) -> Result<(), Refusal> {
        let known = self.nodes.get(&report.peer);
        if source != SourceName::Static && !self.rules.allow_private && known.is_none_or(Node::is_untried) {
            let new = subnet_limits::blocks(&report.addresses);
            let is_new = |block: &Block| known.is_none_or(|node| !node.blocks.contains(block));
            if new.into_iter().filter(is_new).any(|block| self.subnet_limits.is_full(block)) {
                return Err(Refusal::Flood);
            }
        }
        if known.is_some() {
            return Ok(());
        }
        let failures = |peer: &PeerId| self.nodes.get(peer).map_or(0, |node| node.contact.failures);
        match self.quota.make_room(source, self.nodes.len(), failures, rng) {
            Verdict::Full => return Err(Refusal::Full),
            Verdict::InPlaceOf(peer) => self.remove(&peer),
            Verdict::Free => {}
        }
        self.insert(source, report.peer, now, rng);
        Ok(())
    }

    fn insert<R: Rng + ?Sized>(&mut self, source: SourceName, peer: PeerId, now: Now, rng: &mut R) {
        let rank = if source == SourceName::Static {
            self.entries += 1;
            Rank::Entry(self.entries)
        } else {
            Rank::Found(rng.random())
        };
        self.nodes.insert(peer, Node::new(peer, rank, source, now.at));
    }

    /// Changes a node and keeps the counts of quota and subnet limits true.
    fn change<T>(&mut self, peer: PeerId, now: Now, change: impl FnOnce(&mut Node) -> T) -> Option<T> {
        let node = self.nodes.get_mut(&peer)?;
        let before = (node.is_untried() && !node.is_forgotten()).then(|| node.blocks.clone());
        let result = change(node);
        if let Some(at) = self.connected.get(&peer) {
            node.contact.is_connected = true;
            // It was reached before its record came.
            let is_there = at.as_ref().is_some_and(|at| node.places(self.rules.has_ip4).contains(at));
            if is_there && !node.contact.was_seen() {
                node.contact.is_dialled = true;
                node.contact.seen(node.hop_place(), now.at);
            }
        }
        node.notice_move();
        judge(node, &self.rules, now);
        self.subnet_limits.leave(&before.unwrap_or_default());
        if node.is_forgotten() {
            self.quota.leave(&peer);
            self.nodes.remove(&peer);
            return Some(result);
        }
        if node.is_untried() {
            self.subnet_limits.enter(&node.blocks);
        }
        if node.is_kept() {
            self.quota.leave(&peer);
        } else {
            self.quota.enter(peer, node.introduced_by);
        }
        Some(result)
    }

    /// A record says that its peer is no longer of use: what its source has told before it is forgotten.
    fn withdraw(&mut self, source: SourceName, report: &PeerReport, now: Now) {
        let version = report.version;
        self.change(report.peer, now, |node| node.withdraw(source, version, now.unix));
    }

    fn remove(&mut self, peer: &PeerId) {
        let Some(node) = self.nodes.remove(peer) else { return };
        if node.is_untried() {
            self.subnet_limits.leave(&node.blocks);
        }
        self.quota.leave(peer);
    }
}

/// Looks at what a node can be used for; true when that is something else than before.
fn judge(node: &mut Node, rules: &Rules, now: Now) -> bool {
    let is_alive = is_alive(node, rules, now);
    let was_alive = std::mem::replace(&mut node.is_alive, is_alive);
    let state = state_of(node, rules, now);
    node.note_keys(now.at);
    node.used.note(state, now.at);
    if node.state.map(|(state, _)| state) != state {
        node.state = state.map(|state| (state, now.at));
        return true;
    }
    was_alive != is_alive
}

fn is_gone(node: &Node, now: Now) -> bool {
    if node.is_entry() || node.contact.is_connected {
        return false;
    }
    let is_hopeless = match node.contact.last_seen {
        // A node of an old cache is tried before it is forgotten.
        Some(seen) => now.since(seen) > FORGET_AFTER && node.contact.failures > 0,
        // It says that it has moved.
        None if node.contact.was_seen() => node.contact.failures >= GIVE_UP_MOVED,
        None => node.contact.failures >= GIVE_UP,
    };
    is_hopeless || node.expired_for(now.unix) > FORGET_EXPIRED_AFTER
}
