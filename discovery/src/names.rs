//! Names in the records of others: resolved here, and what they resolve to is judged like any other address.
//!
//! Whoever signs a record chooses its names and what they resolve to, now and at the next question: handed to the host's
//! dialler, a name would lead anywhere, this machine included, and past every rule on addresses and subnets. So a name
//! is never dialled and never counted: records wait here until their names are resolved, and only the addresses go on.
//! The operator's own entries are no concern of this module.
//!
//! | bound | what | overflow |
//! |---|---|---|
//! | [`MAX_NAMES`] | names that are remembered | those whose time is over leave; then no further name is looked up |
//! | [`MAX_WAITING`] | records of one source that wait | a new one is refused, and comes again with the next answer of its source |
//! | [`PARALLEL`] | look-ups at a time | the next one waits |

use std::{
    collections::{HashMap, HashSet, VecDeque},
    net::IpAddr,
    time::Duration,
};

use libp2p_identity::PeerId;
use multiaddr::{Multiaddr, Protocol};
use tokio::time::{Instant, timeout};

use crate::{
    peer_report::{PeerReport, Refusal, SourceName},
    peer_table::believable,
    sources::Resolver,
};

/// Look-ups at a time.
pub(crate) const PARALLEL: usize = 8;
/// Names that are remembered, 300 bytes each at most.
const MAX_NAMES: usize = 1024;
/// Records of one source that wait for their names.
const MAX_WAITING: usize = 64;
/// How long an answer is believed, as for the operator's entries.
const BELIEVED: Duration = Duration::from_secs(300);
/// How long a name that does not resolve is left alone.
const LEFT_ALONE: Duration = Duration::from_secs(60);
/// One look-up. Resolvers ask a name server twice within it.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Addresses of one name that are taken.
const MAX_ADDRESSES: usize = 4;

/// A name, and which addresses of it are meant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Name {
    host: String,
    v4: bool,
    v6: bool,
}

/// What is known of names, and the records that wait for it. All of it is derivable: sources tell again.
#[derive(Debug, Default)]
pub(crate) struct Names {
    known: HashMap<Name, Answer>,
    waiting: VecDeque<(SourceName, PeerReport)>,
    to_ask: VecDeque<Name>,
    open: HashSet<Name>,
}

#[derive(Debug)]
struct Answer {
    ips: Vec<IpAddr>,
    until: Instant,
}

/// What becomes of a record.
#[derive(Debug, PartialEq)]
pub(crate) enum Finished {
    /// It has no name, or all of them are resolved.
    Whole(PeerReport),
    /// It has names that are looked up now; what it tells without them, if it tells another address.
    Waits(Option<PeerReport>),
    /// There is no room to wait.
    Refused(Refusal),
}

impl Names {
    /// Puts addresses in the place of names, as far as those are known; a record of which some are not waits for them.
    pub(crate) fn finish(&mut self, source: SourceName, report: PeerReport, now: Instant) -> Finished {
        if source == SourceName::Static || report.addresses.iter().all(|address| name_of(address).is_none()) {
            return Finished::Whole(report);
        }
        let unknown: Vec<_> = self.unknown(&report, now);
        let told = PeerReport { addresses: self.resolved(&report.addresses), ..report.clone() };
        if unknown.is_empty() {
            return Finished::Whole(told);
        }
        let of_source = self.waiting.iter().filter(|(waits_for, _)| *waits_for == source).count();
        if of_source >= MAX_WAITING {
            return Finished::Refused(Refusal::Full);
        }
        for name in unknown {
            if !self.open.contains(&name) && !self.to_ask.contains(&name) {
                self.to_ask.push_back(name);
            }
        }
        self.waiting.push_back((source, report));
        Finished::Waits(Some(told).filter(|told| !told.addresses.is_empty()))
    }

    /// The next name to look up; [`Self::answered`] follows.
    pub(crate) fn next(&mut self) -> Option<Name> {
        let name = (self.open.len() < PARALLEL).then(|| self.to_ask.pop_front()).flatten()?;
        self.open.insert(name.clone());
        Some(name)
    }

    /// A look-up has ended; the records that need wait no longer.
    pub(crate) fn answered(&mut self, name: Name, ips: Vec<IpAddr>, now: Instant) -> Vec<(SourceName, PeerReport)> {
        self.open.remove(&name);
        self.make_room(now);
        let until = now + if ips.is_empty() { LEFT_ALONE } else { BELIEVED };
        self.known.insert(name, Answer { ips, until });
        let waiting = std::mem::take(&mut self.waiting);
        let is_still_waiting = |(_, report): &(SourceName, PeerReport)| !self.unknown(report, now).is_empty();
        let (still, finished): (Vec<_>, Vec<_>) = waiting.into_iter().partition(is_still_waiting);
        self.waiting = still.into();
        finished
    }

    /// Names of a record that have to be looked up, or looked up again.
    fn unknown(&self, report: &PeerReport, now: Instant) -> Vec<Name> {
        let is_over = |name: &Name| self.known.get(name).is_none_or(|answer| answer.until <= now);
        report.addresses.iter().filter_map(resolvable).filter(is_over).collect()
    }

    /// Addresses with what their names resolved to; those whose names are unknown are left out.
    fn resolved(&self, addresses: &[Multiaddr]) -> Vec<Multiaddr> {
        let ips = |name: &Name| self.known.get(name).map(|answer| answer.ips.clone()).unwrap_or_default();
        addresses.iter().flat_map(|address| in_place_of_names(address, ips)).collect()
    }

    fn make_room(&mut self, now: Instant) {
        if self.known.len() >= MAX_NAMES {
            self.known.retain(|_, answer| answer.until > now);
        }
        if self.known.len() >= MAX_NAMES
            && let Some(first) = self.known.iter().min_by_key(|(_, answer)| answer.until).map(|(name, _)| name.clone())
        {
            self.known.remove(&first);
        }
    }
}

/// The address itself, or with each address of its name.
fn in_place_of_names(address: &Multiaddr, ips: impl Fn(&Name) -> Vec<IpAddr>) -> Vec<Multiaddr> {
    if name_of(address).is_none() {
        return vec![address.clone()];
    }
    let Some(name) = resolvable(address) else { return Vec::new() };
    let at = |ip: IpAddr| std::iter::once(Protocol::from(ip)).chain(address.iter().skip(1)).collect();
    ips(&name).into_iter().map(at).collect()
}

/// The name that an address begins with.
fn name_of(address: &Multiaddr) -> Option<Name> {
    let (host, v4, v6) = match address.iter().next()? {
        Protocol::Dns(host) => (host, true, true),
        Protocol::Dns4(host) => (host, true, false),
        Protocol::Dns6(host) => (host, false, true),
        Protocol::Dnsaddr(host) => (host, false, false),
        _ => return None,
    };
    Some(Name { host: host.trim_end_matches('.').to_ascii_lowercase(), v4, v6 })
}

/// The same if anything is to be had from it: behind WebSocket with TLS the name is needed, and this node dials none.
pub(crate) fn resolvable(address: &Multiaddr) -> Option<Name> {
    let is_plain = |part: Protocol<'_>| {
        !matches!(part, Protocol::Ws(_) | Protocol::Wss(_) | Protocol::Tls | Protocol::Sni(_) | Protocol::P2pCircuit)
    };
    name_of(address).filter(|name| (name.v4 || name.v6) && address.iter().all(is_plain))
}

/// Looks a name up; no address if there is none in time.
pub(crate) async fn look_up(resolver: &Resolver, name: &Name) -> Vec<IpAddr> {
    let Ok(Ok(ips)) = timeout(TIMEOUT, resolver(name.host.clone(), 0)).await else { return Vec::new() };
    let is_meant = |ip: &IpAddr| if ip.is_ipv4() { name.v4 } else { name.v6 };
    ips.into_iter().filter(is_meant).take(MAX_ADDRESSES).collect()
}

/// Addresses of a peer that somebody named, names looked up at once and everything judged.
pub(crate) async fn dialable(
    resolver: &Resolver,
    addresses: &[Multiaddr],
    peer: &PeerId,
    allow_private: bool,
) -> Vec<Multiaddr> {
    let mut found = Vec::new();
    for address in addresses {
        let ips = match resolvable(address) {
            Some(name) => look_up(resolver, &name).await,
            None => Vec::new(),
        };
        found.extend(in_place_of_names(address, |_| ips.clone()));
    }
    believable(found, peer, allow_private, PeerReport::MAX_ADDRESSES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(seed: u64, addresses: &[&str]) -> PeerReport {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        PeerReport { addresses, ..PeerReport::new(PeerId::random(), seed) }
    }

    fn told(finished: Finished) -> Vec<String> {
        match finished {
            Finished::Whole(report) => report.addresses.iter().map(ToString::to_string).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_record_waits_for_its_name_and_then_tells_addresses_alone() {
        let (mut names, now) = (Names::default(), Instant::now());
        let report = record(1, &["/ip4/8.8.8.8/tcp/1", "/dns4/A.example.org/tcp/2", "/dns4/a.example.org/tcp/3/wss"]);
        let first = PeerReport { addresses: vec!["/ip4/8.8.8.8/tcp/1".parse().unwrap()], ..report.clone() };
        assert_eq!(names.finish(SourceName::Discv5, report.clone(), now), Finished::Waits(Some(first)));
        let name = names.next().unwrap();
        assert_eq!((name.host.as_str(), names.next()), ("a.example.org", None));
        assert_eq!(names.answered(name, ips(&["9.9.9.9"]), now), [(SourceName::Discv5, report.clone())]);
        let expected = ["/ip4/8.8.8.8/tcp/1", "/ip4/9.9.9.9/tcp/2"];
        assert_eq!(told(names.finish(SourceName::Discv5, report.clone(), now)), expected);
        let later = names.finish(SourceName::Discv5, report, now + BELIEVED);
        assert!(
            matches!(&later, Finished::Waits(Some(told)) if told.addresses.len() == 2),
            "looked up again: {later:?}"
        );
    }

    #[test]
    fn an_operators_entry_keeps_its_name() {
        let report = record(1, &["/dns4/a.example.org/tcp/2"]);
        let finished = Names::default().finish(SourceName::Static, report.clone(), Instant::now());
        assert_eq!(finished, Finished::Whole(report));
    }

    #[test]
    fn a_flood_of_names_of_one_source_leaves_room_for_another() {
        let (mut names, now) = (Names::default(), Instant::now());
        let flood = |seed| record(seed, &[&format!("/dns4/n{seed}.example.org/tcp/1")]);
        let refused = |finished| finished == Finished::Refused(Refusal::Full);
        let count = (0..1000).filter(|seed| refused(names.finish(SourceName::Discv5, flood(*seed), now))).count();
        assert_eq!(count, 1000 - MAX_WAITING);
        assert_eq!(names.finish(SourceName::Rendezvous, flood(2000), now), Finished::Waits(None));
        let open = std::iter::from_fn(|| names.next()).count();
        assert_eq!(open, PARALLEL);
    }

    #[test]
    fn names_that_are_remembered_are_bounded() {
        let (mut names, now) = (Names::default(), Instant::now());
        for seed in 0..3 * MAX_NAMES {
            let name = Name { host: seed.to_string(), v4: true, v6: false };
            names.answered(name, ips(&["9.9.9.9"]), now);
        }
        assert_eq!(names.known.len(), MAX_NAMES);
    }
}
