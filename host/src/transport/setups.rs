//! Connections that remotes are setting up: which of them give way when all places are taken.
//!
//! Whoever opens a connection speaks first (`spec/waku.md §8.1`: noise, WebSocket and the negotiation of both). A remote that
//! does not, or that stops in the middle, keeps its place among the connections being set up until a time-out, and a few dozen
//! of them would keep every newcomer out. libp2p cannot abort the set-up of a connection from outside, so the socket does it:
//! reading fails after [`SILENCE_LIMIT`] without a byte, or as soon as the place is needed.
//!
//! One address has at most a quarter of the places and one subnet half; beyond that its own give way. When all places are taken
//! the largest subnet gives one up to who comes from a smaller one, whatever it has said: a word on each connection costs
//! nothing. QUIC has places of its
//! own: its first packets may name any sender, and whoever makes them up shall not keep sockets out.

mod quic;
mod socket;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures::task::AtomicWaker;
use ipnet::IpNet;
use libp2p::{Multiaddr, swarm::ConnectionId};
use parking_lot::Mutex;
use tokio::time::{Instant, Sleep, sleep};
use wakumix_telemetry::Telemetry;

use self::{quic::WatchedQuic, socket::Watched};
use crate::{
    limits::{Exceeded, Source, Sources},
    metrics::{ConnectionRefusal, RefusalMetrics},
};

/// From an accepted connection to its first byte. The remote sends it together with the end of TCP's own handshake: one round
/// trip, or a second more where a packet was lost (RFC 6298 §2.1).
const SILENCE_LIMIT: Duration = Duration::from_secs(3);

/// A connection on which nothing was said for so long gives way before all others: three round trips to the other side of the
/// world. Younger ones only if there is nothing else, or newcomers would displace each other.
const SILENCE_GRACE: Duration = Duration::from_secs(1);

/// A connection that has spoken gives way after so long: its six round trips take that to the other side of the world.
const SETUP_GRACE: Duration = Duration::from_secs(2);

/// The same where nobody has had that long: six round trips over a continent. Strangers shall rather lose those from the other
/// side of the world than everybody.
const LEAST_GRACE: Duration = Duration::from_millis(400);

/// The connections that remotes are setting up. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Setups {
    table: Arc<Mutex<Table>>,
    limits: Limits,
    sources: Arc<Sources>,
    metrics: RefusalMetrics,
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    sockets: usize,
    quic: usize,
}

/// What a connection is set up over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// TCP, or a circuit: what the remote says is seen.
    Socket,
    /// Nothing is seen until the handshake is over.
    Quic,
}

/// Bound: those on connections being set up, and those that were displaced and have not ended yet.
#[derive(Default)]
struct Table {
    next: u64,
    /// In the order in which they came.
    setups: BTreeMap<u64, Setup>,
    numbers: HashMap<ConnectionId, u64>,
}

struct Setup {
    since: Instant,
    has_spoken: bool,
    kind: Kind,
    /// `None` until somebody has decided that it may be set up.
    admitted: Option<Admitted>,
    end: Arc<End>,
}

/// A connection that may be set up, and where it comes from unless many share that.
#[derive(Clone, Copy)]
struct Admitted {
    connection: ConnectionId,
    source: Option<Source>,
}

/// How a set-up has ended, for the socket.
struct End {
    state: AtomicU8,
    reader: AtomicWaker,
}

const UNDER_WAY: u8 = 0;
const DISPLACED: u8 = 1;
const OVER: u8 = 2;

impl Setups {
    /// So many over sockets and so many over QUIC.
    pub(crate) fn new(sockets: usize, quic: usize, sources: Sources, telemetry: &Telemetry) -> Self {
        Self {
            table: Arc::default(),
            limits: Limits { sockets, quic },
            sources: Arc::new(sources),
            metrics: RefusalMetrics::new(telemetry),
        }
    }

    /// Watches the connections that remotes open over a transport.
    pub(super) fn watch<T>(&self, transport: T) -> Watched<T> {
        Watched::new(transport, self.clone())
    }

    /// Watches the handshakes that remotes begin.
    pub(super) fn watch_quic(&self, transport: libp2p::quic::tokio::Transport) -> WatchedQuic {
        WatchedQuic::new(transport, self.clone())
    }

    /// Decides whether the connection that a transport has listed just now may be set up. If there is no place, another one
    /// gives way: of its own address or subnet where those have their shares.
    pub(crate) fn admit(&self, connection: ConnectionId, remote: &Multiaddr) -> Result<(), Exceeded> {
        let source = self.sources.of(remote);
        let mut table = self.table.lock();
        let newest = table.setups.iter().next_back().filter(|(_, newest)| newest.admitted.is_none());
        let Some((number, kind)) = newest.map(|(number, newest)| (*number, newest.kind)) else { return Ok(()) };
        let limit = match kind {
            Kind::Socket => self.limits.sockets,
            Kind::Quic => self.limits.quic,
        };
        for crowd in Crowd::of(source) {
            table.make_room(crowd, kind, crowd.share(limit), source)?;
        }
        if let Some(newest) = table.setups.get_mut(&number) {
            newest.admitted = Some(Admitted { connection, source });
            table.numbers.insert(connection, number);
        }
        Ok(())
    }

    /// A connection is set up, or will not be.
    pub(crate) fn ended(&self, connection: ConnectionId) {
        let mut table = self.table.lock();
        if let Some(number) = table.numbers.get(&connection).copied() {
            table.end(number, OVER);
        }
    }

    fn enter(&self, kind: Kind) -> Ticket {
        let end = Arc::new(End { state: AtomicU8::new(UNDER_WAY), reader: AtomicWaker::new() });
        let setup = Setup { since: Instant::now(), has_spoken: false, kind, admitted: None, end: end.clone() };
        let mut table = self.table.lock();
        let number = table.next;
        table.next += 1;
        table.setups.insert(number, setup);
        drop(table);
        Ticket { number, end, silence: Some(Box::pin(sleep(SILENCE_LIMIT))), all: self.clone() }
    }
}

/// Connections that have a bound together.
#[derive(Clone, Copy, Debug)]
enum Crowd {
    Address(Source),
    Subnet(Source),
    All,
}

impl Crowd {
    /// Those that a newcomer from there belongs to, the smallest first.
    fn of(source: Option<Source>) -> impl Iterator<Item = Self> {
        let counted = source.into_iter().flat_map(|source| [Self::Address(source), Self::Subnet(source)]);
        counted.chain([Self::All])
    }

    fn has(self, member: Option<Source>) -> bool {
        match self {
            Self::Address(source) => member.is_some_and(|member| member.address == source.address),
            Self::Subnet(source) => member.is_some_and(|member| member.subnet == source.subnet),
            Self::All => true,
        }
    }

    /// Its part of the places.
    fn share(self, places: usize) -> usize {
        match self {
            Self::Address(_) => places.div_ceil(4),
            Self::Subnet(_) => places.div_ceil(2),
            Self::All => places,
        }
    }

    fn refusal(self) -> ConnectionRefusal {
        match self {
            Self::Address(_) => ConnectionRefusal::AddressShare,
            Self::Subnet(_) => ConnectionRefusal::SubnetShare,
            Self::All => ConnectionRefusal::PendingInbound,
        }
    }
}

impl Table {
    /// Sees to it that one more of a crowd has a place.
    fn make_room(&mut self, crowd: Crowd, kind: Kind, limit: usize, newcomer: Option<Source>) -> Result<(), Exceeded> {
        if self.members(crowd, kind).count() < limit {
            return Ok(());
        }
        let leaver = self.gives_way(crowd, kind, newcomer, Instant::now());
        let number = leaver.ok_or(Exceeded { refusal: crowd.refusal(), limit })?;
        self.end(number, DISPLACED);
        Ok(())
    }

    /// Those of a crowd that are being set up, the oldest first.
    fn members(&self, crowd: Crowd, kind: Kind) -> impl Iterator<Item = (u64, &Setup)> {
        let is_member = move |setup: &Setup| setup.admitted.is_some_and(|admitted| crowd.has(admitted.source));
        let of_kind = self.setups.iter().filter(move |(_, setup)| setup.kind == kind && is_member(setup));
        of_kind.map(|(number, setup)| (*number, setup))
    }

    /// The one that gives way first: silent for a while, else of a subnet that has more than the newcomer's, else slow, else a
    /// silent one, else the oldest.
    fn gives_way(&self, crowd: Crowd, kind: Kind, newcomer: Option<Source>, now: Instant) -> Option<u64> {
        let oldest = |gives_way: &dyn Fn(&Setup, Duration) -> bool| {
            let mut members = self.members(crowd, kind);
            members
                .find(|(_, setup)| gives_way(setup, now.saturating_duration_since(setup.since)))
                .map(|(number, _)| number)
        };
        let subnets = self.subnets(crowd, kind);
        let size = |source: Option<Source>| source.and_then(|of| subnets.get(&of.subnet)).copied().unwrap_or_default();
        // The oldest of the largest subnet, if that is as large as this.
        let of_crowd = |least: usize, gives_way: &dyn Fn(&Setup) -> bool| {
            let size = |setup: &Setup| size(setup.admitted.and_then(|admitted| admitted.source));
            let candidates = self.members(crowd, kind).filter(|(_, setup)| size(setup) >= least && gives_way(setup));
            candidates.max_by_key(|(number, setup)| (size(setup), Reverse(*number))).map(|(number, _)| number)
        };
        let more = size(newcomer) + 2;
        oldest(&|setup, age| !setup.has_spoken && age >= SILENCE_GRACE)
            .or_else(|| of_crowd(more, &|_| true))
            .or_else(|| oldest(&|_, age| age >= SETUP_GRACE))
            .or_else(|| of_crowd(0, &|setup| !setup.has_spoken))
            .or_else(|| oldest(&|_, age| age >= LEAST_GRACE))
    }

    /// How many of a crowd are of which subnet. None is counted of QUIC: its first packets may name any.
    fn subnets(&self, crowd: Crowd, kind: Kind) -> HashMap<IpNet, usize> {
        let mut subnets = HashMap::new();
        for (_, setup) in self.members(crowd, kind).filter(|_| kind == Kind::Socket) {
            if let Some(source) = setup.admitted.and_then(|admitted| admitted.source) {
                *subnets.entry(source.subnet).or_default() += 1;
            }
        }
        subnets
    }

    fn end(&mut self, number: u64, state: u8) {
        let Some(setup) = self.setups.remove(&number) else { return };
        if let Some(admitted) = setup.admitted {
            self.numbers.remove(&admitted.connection);
        }
        setup.end.state.store(state, Ordering::Release);
        setup.end.reader.wake();
    }
}

/// A socket's part in the table; leaves it when dropped.
struct Ticket {
    number: u64,
    end: Arc<End>,
    /// `None` once something has come.
    silence: Option<Pin<Box<Sleep>>>,
    all: Setups,
}

impl Ticket {
    /// Why the connection is not waited for any longer.
    fn poll_refused(&mut self, cx: &mut Context<'_>) -> Poll<ConnectionRefusal> {
        self.end.reader.register(cx.waker());
        if self.state() == DISPLACED {
            return Poll::Ready(ConnectionRefusal::Displaced);
        }
        match &mut self.silence {
            Some(silence) => silence.as_mut().poll(cx).map(|()| ConnectionRefusal::Silent),
            None => Poll::Pending,
        }
    }

    /// Something has come; how the set-up stands.
    fn spoken(&mut self) -> u8 {
        if self.silence.take().is_some()
            && let Some(setup) = self.all.table.lock().setups.get_mut(&self.number)
        {
            setup.has_spoken = true;
        }
        self.state()
    }

    fn state(&self) -> u8 {
        self.end.state.load(Ordering::Acquire)
    }

    fn count(&self, refusal: ConnectionRefusal) {
        self.all.metrics.refused(refusal);
    }

    fn refuse<T>(&self, refusal: ConnectionRefusal) -> io::Result<T> {
        self.count(refusal);
        Err(io::Error::new(io::ErrorKind::TimedOut, "the remote did not set its connection up in time"))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.all.table.lock().end(self.number, OVER);
    }
}

#[cfg(test)]
mod tests;
