//! From fragments back to requests, under bounds.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    time::Duration,
};

use thiserror::Error;
use wakumix_sphinx::Surb;

use super::{Digest, FRAGMENT_CODEC, Fragment, SetId, Shape, code};
use crate::{
    DropReason,
    message::{MixMessage, check_codec},
};

/// More than any set can take: 8 fragments of a packet of the mix format, of which none brings more than 3966 bytes, and
/// twice as much for formats with longer packets.
pub const MAX_SET_BYTES: usize = 64 * 1024;

/// Sets whose end is remembered, for each that may be open: a name of 16 bytes each, so that a fragment that comes late is
/// known as such. One whose end is forgotten opens a set that never completes, unless there are as many copies left as
/// it has data shards; then the service is asked again and knows the message already.
const CLOSED_PER_OPEN: usize = 4;

/// What a [`Reassembly`] may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReassemblyLimits {
    /// Incomplete sets.
    pub sets: usize,
    /// Bytes of shards and SURBs of all incomplete sets; at least [`MAX_SET_BYTES`] lets every set complete.
    pub bytes: usize,
    /// How long a set may take from its first fragment to its last, and how long its end is remembered.
    pub age: Duration,
}

/// What became of a fragment.
pub enum Progress {
    /// Kept; its set needs more.
    Incomplete,
    /// Its shard was there already. Its SURBs are discarded: a set has one answer.
    Duplicate,
    /// Its set is whole and has been handed out. Its SURBs are discarded.
    Late,
    /// Its set is whole.
    Complete {
        /// The codec of the request.
        codec: String,
        /// Its application bytes.
        data: Vec<u8>,
        /// The SURBs of every fragment that came.
        surbs: Vec<Surb>,
    },
    /// It was not kept.
    Refused {
        /// Why.
        reason: SetRefusal,
        /// The SURBs of this fragment, or of the whole set if that is given up, to say so.
        surbs: Vec<Surb>,
    },
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Incomplete => f.write_str("Incomplete"),
            Self::Duplicate => f.write_str("Duplicate"),
            Self::Late => f.write_str("Late"),
            Self::Complete { data, .. } => f.debug_struct("Complete").field("len", &data.len()).finish_non_exhaustive(),
            Self::Refused { reason, .. } => f.debug_tuple("Refused").field(reason).finish(),
        }
    }
}

wakumix_sphinx::named_enum! {
    /// Why a fragment was not kept.
    #[non_exhaustive]
    #[derive(Error)]
    pub enum SetRefusal {
        /// It says something else about its set than the first fragment did, or its shard differs from the one with its index.
        /// The set stays.
        #[error("the fragment contradicts its set")]
        Contradiction = "contradiction",
        /// The shards do not give the message that was cut. The set is given up.
        #[error("the shards do not belong together")]
        Damaged = "damaged",
        /// The message is not codec and application bytes, or is itself a fragment. The set is given up.
        #[error("there is no request in the set")]
        NoRequest = "no_request",
        /// Its set was given up before.
        #[error("the set was given up")]
        GivenUp = "given_up",
        /// There is no room beside its own set.
        #[error("no room for the fragment")]
        NoRoom = "no_room",
    }
}

impl SetRefusal {
    /// How the packet is counted.
    #[must_use]
    pub const fn drop_reason(self) -> DropReason {
        match self {
            Self::NoRoom => DropReason::QueueFull,
            _ => DropReason::BadFragment,
        }
    }
}

/// Sets that ended without being whole, since they were asked for last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Took longer than [`ReassemblyLimits::age`].
    pub expired: u64,
    /// Made room for newer ones.
    pub displaced: u64,
}

/// Puts fragments together.
///
/// Overflow rule: when a limit is reached, the incomplete set whose first fragment came first makes room. An honest set
/// therefore completes if its fragments come in before [`ReassemblyLimits::sets`] newer sets begin. The last fragment of a set needs no
/// room. Every operation costs O(log sets) and the size of one set. All state is ephemeral.
pub struct Reassembly {
    limits: ReassemblyLimits,
    sets: BTreeMap<SetId, State>,
    /// Incomplete sets in the order of their first fragments.
    open: BTreeMap<u64, SetId>,
    /// Ended ones in the order of their ends, with the time until which that is remembered.
    closed: VecDeque<(Duration, SetId)>,
    bytes: usize,
    next: u64,
    losses: Losses,
}

enum State {
    Open(Open),
    /// Handed out.
    Answered,
    /// Found to be damaged.
    GivenUp,
}

struct Open {
    place: u64,
    deadline: Duration,
    shape: Shape,
    /// A place for every shard.
    held: Vec<Option<Box<[u8]>>>,
    surbs: Vec<Surb>,
}

/// What a set turned out to hold.
struct Whole {
    codec: String,
    data: Vec<u8>,
}

impl Reassembly {
    /// Holds nothing yet.
    #[must_use]
    pub const fn new(limits: ReassemblyLimits) -> Self {
        let losses = Losses { expired: 0, displaced: 0 };
        Self {
            limits,
            sets: BTreeMap::new(),
            open: BTreeMap::new(),
            closed: VecDeque::new(),
            bytes: 0,
            next: 0,
            losses,
        }
    }

    /// Takes a fragment with the SURBs that came along. Sets whose time is over end first.
    pub fn insert(&mut self, now: Duration, fragment: Fragment<'_>, surbs: Vec<Surb>) -> Progress {
        self.expire(now);
        let progress = match self.sets.get(&fragment.set) {
            Some(State::Answered) => Progress::Late,
            Some(State::GivenUp) => Progress::Refused { reason: SetRefusal::GivenUp, surbs },
            Some(State::Open(set)) => match set.verdict(&fragment) {
                Verdict::Known => Progress::Duplicate,
                Verdict::Contradicts => Progress::Refused { reason: SetRefusal::Contradiction, surbs },
                Verdict::Completes => self.complete(now, fragment, surbs),
                Verdict::Adds => self.keep(now, fragment, surbs),
            },
            None if fragment.shape.shards.data == 1 => self.complete(now, fragment, surbs),
            None => self.keep(now, fragment, surbs),
        };
        debug_assert!(self.is_consistent());
        progress
    }

    /// Ends every set whose time is over and forgets ends that need not be remembered any more.
    pub fn expire(&mut self, now: Duration) {
        while let Some(entry) = self.open.first_entry() {
            let id = *entry.get();
            if matches!(self.sets.get(&id), Some(State::Open(set)) if set.deadline > now) {
                break;
            }
            self.take_open(&id);
            self.losses.expired += 1;
        }
        while let Some(&(until, id)) = self.closed.front()
            && until <= now
        {
            self.closed.pop_front();
            self.sets.remove(&id);
        }
    }

    /// Sets that were lost since this was asked last.
    pub fn take_losses(&mut self) -> Losses {
        std::mem::take(&mut self.losses)
    }

    /// Incomplete sets.
    #[must_use]
    pub fn sets(&self) -> usize {
        self.open.len()
    }

    /// Bytes of shards and SURBs of all incomplete sets.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The invariant: the limits hold, the bytes are those that are held, and every set is in one order.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        let open =
            || self.sets.values().filter_map(|state| if let State::Open(set) = state { Some(set) } else { None });
        let bounded = self.bytes <= self.limits.bytes
            && self.open.len() <= self.limits.sets
            && self.closed.len() <= self.closed_limit();
        let counted = open().map(Open::bytes).sum::<usize>() == self.bytes;
        let ordered = open().all(|set| self.open.contains_key(&set.place));
        bounded
            && counted
            && ordered
            && open().count() == self.open.len()
            && self.sets.len() == self.open.len() + self.closed.len()
    }

    /// Keeps a fragment that does not complete its set.
    fn keep(&mut self, now: Duration, fragment: Fragment<'_>, surbs: Vec<Surb>) -> Progress {
        let needed = fragment.shard.len() + surbs_len(&surbs);
        if !self.make_room(&fragment.set, needed) {
            return Progress::Refused { reason: SetRefusal::NoRoom, surbs };
        }
        let (place, deadline) = (self.next, now.saturating_add(self.limits.age));
        let state = self.sets.entry(fragment.set).or_insert_with(|| {
            self.open.insert(place, fragment.set);
            self.next += 1;
            State::Open(Open::new(place, deadline, fragment.shape))
        });
        if let State::Open(set) = state {
            set.add(&fragment, surbs);
            self.bytes += needed;
        }
        Progress::Incomplete
    }

    /// Ends a set with the fragment that was missing.
    fn complete(&mut self, now: Duration, fragment: Fragment<'_>, surbs: Vec<Surb>) -> Progress {
        let mut set = self.take_open(&fragment.set).unwrap_or_else(|| Open::new(0, now, fragment.shape));
        set.add(&fragment, surbs);
        let shape = set.shape;
        match restore(shape, set.held) {
            Ok(Whole { codec, data }) => {
                self.close(now, fragment.set, State::Answered);
                Progress::Complete { codec, data, surbs: set.surbs }
            }
            Err(reason) => {
                self.close(now, fragment.set, State::GivenUp);
                Progress::Refused { reason, surbs: set.surbs }
            }
        }
    }

    fn close(&mut self, now: Duration, id: SetId, end: State) {
        if self.closed.len() >= self.closed_limit()
            && let Some((_, oldest)) = self.closed.pop_front()
        {
            self.sets.remove(&oldest);
        }
        self.sets.insert(id, end);
        self.closed.push_back((now.saturating_add(self.limits.age), id));
    }

    /// Displaces the oldest sets, but not `own`, until a fragment with so many bytes fits.
    fn make_room(&mut self, own: &SetId, needed: usize) -> bool {
        let new = usize::from(!self.sets.contains_key(own));
        while self.open.len() + new > self.limits.sets || self.bytes + needed > self.limits.bytes {
            let Some(oldest) = self.open.values().find(|id| *id != own).copied() else { return false };
            self.take_open(&oldest);
            self.losses.displaced += 1;
        }
        true
    }

    fn take_open(&mut self, id: &SetId) -> Option<Open> {
        let State::Open(_) = self.sets.get(id)? else { return None };
        let Some(State::Open(set)) = self.sets.remove(id) else { return None };
        self.open.remove(&set.place);
        self.bytes -= set.bytes();
        Some(set)
    }

    const fn closed_limit(&self) -> usize {
        // At least one: a set is closed only after it was open.
        let limit = self.limits.sets.saturating_mul(CLOSED_PER_OPEN);
        if limit == 0 { 1 } else { limit }
    }
}

/// What a fragment is to its set.
enum Verdict {
    Known,
    Contradicts,
    Completes,
    Adds,
}

impl Open {
    fn new(place: u64, deadline: Duration, shape: Shape) -> Self {
        Self { place, deadline, shape, held: vec![None; shape.shards.total()], surbs: Vec::new() }
    }

    fn verdict(&self, fragment: &Fragment<'_>) -> Verdict {
        if fragment.shape != self.shape {
            return Verdict::Contradicts;
        }
        match self.held.get(fragment.index()) {
            Some(Some(held)) if **held == *fragment.shard => Verdict::Known,
            Some(None) if self.held.iter().flatten().count() + 1 >= usize::from(self.shape.shards.data) => {
                Verdict::Completes
            }
            Some(None) => Verdict::Adds,
            _ => Verdict::Contradicts,
        }
    }

    fn add(&mut self, fragment: &Fragment<'_>, mut surbs: Vec<Surb>) {
        if let Some(place) = self.held.get_mut(fragment.index()) {
            *place = Some(fragment.shard.into());
        }
        self.surbs.append(&mut surbs);
    }

    fn bytes(&self) -> usize {
        self.held.iter().flatten().map(|shard| shard.len()).sum::<usize>() + surbs_len(&self.surbs)
    }
}

fn surbs_len(surbs: &[Surb]) -> usize {
    surbs.iter().map(Surb::encoded_len).sum()
}

/// The request that enough shards carry.
fn restore(shape: Shape, mut held: Vec<Option<Box<[u8]>>>) -> Result<Whole, SetRefusal> {
    code::restore(shape.shards, &mut held).map_err(|_| SetRefusal::Damaged)?;
    let data = held.iter().take(shape.shards.data.into()).flatten();
    let padded: Vec<u8> = data.flat_map(|shard| shard.iter().copied()).collect();
    let (message, padding) = padded.split_at_checked(shape.len).ok_or(SetRefusal::Damaged)?;
    if Digest::of(message) != shape.digest || padding.iter().any(|&byte| byte != 0) {
        return Err(SetRefusal::Damaged);
    }
    let MixMessage { codec, rest } = MixMessage::decode(message).map_err(|_| SetRefusal::NoRequest)?;
    let codec = str::from_utf8(codec).map_err(|_| SetRefusal::NoRequest)?;
    if check_codec(codec).is_err() || codec == FRAGMENT_CODEC {
        return Err(SetRefusal::NoRequest);
    }
    Ok(Whole { codec: codec.to_owned(), data: rest.to_vec() })
}
