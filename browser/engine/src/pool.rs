//! The mix nodes that a page knows, and what each can be used for.
//!
//! Nodes come from descriptors with good signatures, and from the app. A node without a descriptor is what the
//! app says that it is. Bounds: [`MAX_NODES`] nodes with descriptors, overflow rule: a newcomer is not taken; the nodes that
//! the app names are bounded by the app.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use libp2p_identity::PeerId;
use multiaddr::{Multiaddr, Protocol};
use wakumix_client::{DirectorySnapshot, PoolCounts, PoolState, ServiceEntry, ServiceKind, guards::GuardCandidate};
use wakumix_mix::{Family, HopAddress, Member, MixNode, OwnOperator, families, is_public};
use wakumix_records::descriptor::Descriptor;
use wakumix_sphinx::{FormatSet, PublicKey, WireFormat};
use wakumix_waku::record::{Capabilities, Shards};

use crate::command::NamedNode;

/// Nodes that are kept with their descriptors, eight answers of the most that one holds; 1.5 kB each at most.
const MAX_NODES: usize = 256;
/// Addresses at which a node is dialled.
const MAX_DIALLED: usize = 3;

/// What a node must be to count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PoolRules {
    pub(crate) cluster: u16,
    pub(crate) wire: WireFormat,
    pub(crate) allow_private: bool,
    pub(crate) secure_only: bool,
}

/// The known nodes.
#[derive(Debug)]
pub(crate) struct Pool {
    rules: PoolRules,
    nodes: BTreeMap<PeerId, Node>,
    /// The cluster of nodes that were not taken for it, and how many of them the last answer held.
    foreign: Option<(u16, u32)>,
}

/// One known node. At least one of the two is there.
#[derive(Debug, Default)]
struct Node {
    named: Option<NamedNode>,
    descriptor: Option<(Descriptor, Vec<u8>)>,
}

/// What the page's connections say of a node.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    /// The page is or was connected to it in this visit.
    pub(crate) is_reached: bool,
    /// The last attempt to dial it failed.
    pub(crate) has_failed: bool,
}

impl Pool {
    pub(crate) fn new(rules: PoolRules) -> Self {
        Self { rules, nodes: BTreeMap::new(), foreign: None }
    }

    /// Takes a node that the app names.
    pub(crate) fn name(&mut self, node: NamedNode) {
        let peer = node.peer;
        self.nodes.entry(peer).or_default().named = Some(node);
    }

    /// Whether a descriptor is worth the check of its signature: of a mix node of this cluster, newer than what is known.
    pub(crate) fn wants(&mut self, descriptor: &Descriptor) -> bool {
        if descriptor.shards.cluster != self.rules.cluster {
            let foreign = self.foreign.map_or(0, |(_, count)| count);
            self.foreign = Some((descriptor.shards.cluster, foreign.saturating_add(1)));
            return false;
        }
        let known = self.nodes.get(&descriptor.peer).and_then(|node| node.descriptor.as_ref());
        let has_place = known.is_some() || self.described().count() < MAX_NODES;
        descriptor.mix_key.is_some() && has_place && known.is_none_or(|(known, _)| known.issued < descriptor.issued)
    }

    /// Takes a descriptor whose signature is good; whether that changed anything.
    pub(crate) fn take(&mut self, descriptor: Descriptor, bytes: Vec<u8>) -> bool {
        let is_wanted = self.wants(&descriptor);
        if is_wanted {
            let peer = descriptor.peer;
            self.nodes.entry(peer).or_default().descriptor = Some((descriptor, bytes));
        }
        is_wanted
    }

    /// Forgets which other cluster was seen, before an answer is read.
    pub(crate) fn begin_answer(&mut self) {
        self.foreign = None;
    }

    /// A cluster that the nodes are of that were not taken, and how many they are.
    pub(crate) fn foreign(&self) -> Option<(u16, u32)> {
        self.foreign
    }

    /// Forgets descriptors whose time is over.
    pub(crate) fn expire(&mut self, unix: u64) {
        for node in self.nodes.values_mut() {
            node.descriptor = node.descriptor.take().filter(|(descriptor, _)| descriptor.expires > unix);
        }
        self.nodes.retain(|_, node| node.named.is_some() || node.descriptor.is_some());
    }

    /// All nodes that are known.
    pub(crate) fn peers(&self) -> impl Iterator<Item = PeerId> {
        self.nodes.keys().copied()
    }

    pub(crate) fn has(&self, peer: &PeerId) -> bool {
        self.nodes.contains_key(peer)
    }

    /// Whether a node serves lightpush, as far as is known.
    pub(crate) fn is_service(&self, peer: &PeerId) -> bool {
        self.nodes.get(peer).is_some_and(Node::is_service)
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The descriptors, to be kept.
    pub(crate) fn described(&self) -> impl Iterator<Item = &[u8]> {
        self.nodes.values().filter_map(|node| node.descriptor.as_ref()).map(|(_, bytes)| bytes.as_slice())
    }

    /// Where the page dials a node, in binary form; nothing if it cannot.
    pub(crate) fn dialled_at(&self, peer: &PeerId) -> Vec<Vec<u8>> {
        let Some(node) = self.nodes.get(peer) else { return Vec::new() };
        let can_dial = |address: &Multiaddr| is_dialable(address, self.rules);
        node.addresses().filter(can_dial).take(MAX_DIALLED).map(|address| address.to_vec()).collect()
    }

    /// What a node can be used for.
    pub(crate) fn state(&self, peer: &PeerId, unix: u64, seen: Seen) -> PoolState {
        let Some(node) = self.nodes.get(peer) else { return PoolState::KeyUnknown };
        let is_other =
            node.descriptor.as_ref().is_some_and(|(descriptor, _)| !descriptor.profiles.contains(&self.rules.wire));
        if is_other {
            return PoolState::OtherProfile;
        }
        if node.key(unix).is_none() {
            return PoolState::KeyUnknown;
        }
        match node.hop(*peer, true) {
            None => return PoolState::Unaddressable,
            Some(_) if node.hop(*peer, self.rules.allow_private).is_none() => return PoolState::HeldBack,
            Some(_) => {}
        }
        if seen.has_failed { PoolState::Unreachable } else { PoolState::Usable }
    }

    /// The pool as the client draws from it, and as guards are drawn from it. `seen` says what is known of connections.
    pub(crate) fn view(&self, unix: u64, seen: impl Fn(&PeerId) -> Seen) -> View {
        let mut counts = PoolCounts::default();
        let mut usable = Vec::new();
        let mut known = Vec::new();
        for (peer, node) in &self.nodes {
            let state = self.state(peer, unix, seen(peer));
            counts.add(state);
            let (Some(address), Some(key)) = (node.hop(*peer, self.rules.allow_private), node.key(unix)) else {
                continue;
            };
            known.push((*peer, node, state));
            let reassembles = node.descriptor.as_ref().is_some_and(|(descriptor, _)| descriptor.reassembles);
            usable.push(MixNode { address, key, family: None, formats: FormatSet::MIX, reassembles });
        }
        let members: Vec<_> = known.iter().map(|(peer, node, _)| node.member(*peer)).collect();
        let (numbers, _) = families(&members, OwnOperator::default());
        let all: Vec<_> = usable
            .into_iter()
            .zip(numbers)
            .map(|(node, family): (_, Option<Family>)| MixNode { family, ..node })
            .collect();
        let candidates = all.iter().zip(&known).map(|(mix_node, (peer, node, state))| GuardCandidate {
            node: mix_node.clone(),
            is_usable: *state == PoolState::Usable && seen(peer).is_reached,
            is_entry: node.named.is_some(),
            is_service: node.is_service(),
            is_full: node.descriptor.as_ref().is_some_and(|(descriptor, _)| descriptor.is_full),
        });
        let candidates: Vec<_> = candidates.collect();
        let pool = all.into_iter().zip(&known).filter(|(_, (.., state))| *state == PoolState::Usable);
        let (mut mix_nodes, mut services, mut entries) = (Vec::new(), Vec::new(), 0);
        let mut subnets = BTreeSet::new();
        let mut is_open_network = false;
        for (mix_node, (peer, node, _)) in pool {
            if node.is_service() {
                let (kind, address) = (ServiceKind::LIGHTPUSH, Some(mix_node.address.clone()));
                services.push(ServiceEntry { kind, peer: *peer, address, shards: node.shards() });
            }
            if node.named.is_some() {
                entries += 1;
            } else {
                let ip = mix_node.address.ip();
                is_open_network |= is_public(ip.into());
                subnets.insert(u32::from(ip) >> 8);
            }
            mix_nodes.push(mix_node);
        }
        let independent = is_open_network.then_some(entries + subnets.len());
        let directory =
            DirectorySnapshot { mix_nodes, services, pool: counts, independent, ..DirectorySnapshot::default() };
        View { directory, candidates }
    }
}

/// The pool at one moment.
pub(crate) struct View {
    /// Without guards, and without whether somebody is searching.
    pub(crate) directory: DirectorySnapshot,
    /// All nodes that paths could pass, as guards are drawn from them.
    pub(crate) candidates: Vec<GuardCandidate>,
}

impl Node {
    fn addresses(&self) -> impl Iterator<Item = Multiaddr> {
        let told = self.descriptor.iter().flat_map(|(descriptor, _)| descriptor.addresses.iter().cloned());
        let named = self.named.iter().flat_map(|named| &named.addresses);
        named.filter_map(|bytes| Multiaddr::try_from(bytes.clone()).ok()).chain(told)
    }

    /// What headers carry for it.
    fn hop(&self, peer: PeerId, allow_private: bool) -> Option<HopAddress> {
        let hops = self.addresses().filter_map(|address| HopAddress::from_multiaddr(&address, peer).ok());
        hops.filter(|hop| allow_private || is_public(hop.ip().into())).min_by_key(|hop| hop.relay().is_some())
    }

    /// Its mix key now.
    fn key(&self, unix: u64) -> Option<PublicKey> {
        match &self.descriptor {
            Some((Descriptor { next_key: Some((next, from)), .. }, _)) if *from <= unix => Some(*next),
            Some((descriptor, _)) => descriptor.mix_key,
            None => self.named.as_ref().map(|named| named.key),
        }
    }

    fn is_service(&self) -> bool {
        let tells = |(descriptor, _): &(Descriptor, _)| descriptor.capabilities.contains(Capabilities::LIGHTPUSH);
        self.descriptor.as_ref().map_or_else(|| self.named.as_ref().is_some_and(|named| named.lightpush), tells)
    }

    fn shards(&self) -> Option<Shards> {
        self.descriptor.as_ref().map(|(descriptor, _)| descriptor.shards.clone())
    }

    fn member(&self, peer: PeerId) -> Member<'_> {
        let told = self.descriptor.as_ref().map(|(descriptor, _)| descriptor);
        let operator = told.and_then(|descriptor| descriptor.operator.as_deref());
        Member { peer, operator, family: told.map_or(&[], |descriptor| &descriptor.family) }
    }
}

/// Whether the page may dial this address, which may come from anybody: a WebSocket, a secure one where the page is secure,
/// and none that leads into the network of the user.
fn is_dialable(address: &Multiaddr, rules: PoolRules) -> bool {
    let mut parts = address.iter();
    let is_loopback;
    let is_name;
    let is_allowed = match parts.next() {
        Some(Protocol::Ip4(ip)) => {
            (is_loopback, is_name) = (ip.is_loopback(), false);
            rules.allow_private || is_public(IpAddr::V4(ip))
        }
        Some(Protocol::Ip6(ip)) => {
            (is_loopback, is_name) = (ip.is_loopback(), false);
            rules.allow_private || is_public(IpAddr::V6(ip))
        }
        Some(Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name)) => {
            (is_loopback, is_name) = (name == "localhost", true);
            rules.allow_private || is_public_name(&name)
        }
        _ => return false,
    };
    let Some(Protocol::Tcp(1..)) = parts.next() else { return false };
    let is_secure = match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(Protocol::Ws(_)), None, ..) => false,
        (Some(Protocol::Wss(_)), None, ..)
        | (Some(Protocol::Tls), Some(Protocol::Ws(_)), None, _)
        | (Some(Protocol::Tls), Some(Protocol::Sni(_)), Some(Protocol::Ws(_)), None) => true,
        _ => return false,
    };
    // Names of strangers are dialled with TLS alone: a server of another network that a name leads to has no certificate for it.
    is_allowed
        && (is_secure
            || (!rules.secure_only && (!is_name || rules.allow_private))
            || (is_loopback && rules.allow_private))
}

/// Whether a name may belong to the internet: it has a dot, and does not end in what is local by convention.
fn is_public_name(name: &str) -> bool {
    const LOCAL: [&str; 6] = [".local", ".localhost", ".internal", ".lan", ".home", ".arpa"];
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let is_number = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    name.contains('.') && !is_number && !LOCAL.iter().any(|local| name.ends_with(local))
}
