//! Key rollover: replaces keys by the clock.
//!
//! Keys are ordered by their creation, and a key only moves forward: next, current, earlier, erased. The clock decides when a
//! key moves, never in which direction. A clock that goes back does not bring an older key back; a clock that leaps ahead moves
//! each key forward by one state.

use std::{fmt, mem, sync::Arc, time::Duration};

use tokio::sync::watch;
use wakumix_sphinx::PublicKey;

use crate::{
    Announced, Config, Shared, State, UnixSeconds,
    countermeasures::outlive_replacement,
    key_file::Life,
    store::{Held, Store},
};

/// How far the clocks of senders may be ahead: a key opens packets this long before it becomes the current one, but at most a quarter
/// of its lifetime. For clocks that are behind there is the overlap.
pub const CLOCK_SKEW: Duration = Duration::from_secs(60);
/// Seconds that a clock may go back without a log line: less is an ordinary correction.
const NOTABLE_JUMP: u64 = 30;
/// Seconds by which a key's end must differ from the one in its file to be saved.
const NOTABLE_SHIFT: u64 = 30;

/// Gives the wall-clock time.
pub(crate) type Clock = Box<dyn Fn() -> UnixSeconds + Send + Sync>;

/// Replaces the keys of a ring. The owner calls it about once per second; without that, a ring stays as it was opened.
pub struct Rotation {
    clock: Clock,
    times: Times,
    store: Store,
    /// `None` for a key that is never replaced.
    keys: Option<Keys>,
    /// Keys that no longer open packets, until they are erased.
    ended: Vec<Ended>,
    state: watch::Sender<State>,
    shared: Arc<Shared>,
    latest: UnixSeconds,
}

/// Durations in whole seconds.
#[derive(Clone, Copy)]
pub(crate) struct Times {
    lifetime: u64,
    overlap: u64,
    skew: u64,
}

/// The keys of a ring by their state.
pub(crate) struct Keys {
    /// Those that still open packets, the newest last.
    pub(crate) earlier: Vec<Held>,
    pub(crate) current: Held,
    pub(crate) next: Held,
}

/// A key that no longer opens packets.
pub(crate) struct Ended {
    pub(crate) key: PublicKey,
    pub(crate) until: UnixSeconds,
    /// Whether it has been said that it cannot be erased.
    pub(crate) reported: bool,
}

impl Rotation {
    pub(crate) fn new(
        clock: Clock,
        times: Times,
        store: Store,
        keys: Option<Keys>,
        ended: Vec<Ended>,
        state: watch::Sender<State>,
        shared: Arc<Shared>,
    ) -> Self {
        let latest = clock();
        Self { clock, times, store, keys, ended, state, shared, latest }
    }

    /// Does what is due now. Blocks while files are written.
    pub fn turn(&mut self) {
        let now = (self.clock)();
        if now.saturating_add(NOTABLE_JUMP) < self.latest {
            tracing::warn!(seconds = self.latest - now, "the clock went back; the order of mix keys stays as it is");
        }
        self.latest = now;
        self.bring_forward(now);
        self.replace(now);
        self.end(now);
        self.publish(now);
        self.erase(now);
        self.look_for_files();
    }

    /// Whether the files of the keys in use are still there: what is deleted under a running node is missed after its restart.
    fn look_for_files(&self) {
        let Some(keys) = &self.keys else { return };
        let missing = |held: &Held| self.store.missing(&held.key.public());
        self.shared.report_missing([&keys.current, &keys.next].into_iter().find_map(missing));
    }

    /// No key waits longer than the settings allow, also when the clock went back.
    fn bring_forward(&mut self, now: UnixSeconds) {
        let Times { lifetime, overlap, .. } = self.times;
        let Some(keys) = &mut self.keys else { return };
        if keys.next.life.from > now.saturating_add(lifetime) {
            keys.next.life = self.times.life(keys.next.life.number, now.saturating_add(lifetime));
            note(&self.store, &keys.next);
        }
        for held in keys.earlier.iter_mut().filter(|held| held.life.until > now.saturating_add(overlap)) {
            held.life.until = now.saturating_add(overlap);
            note(&self.store, held);
        }
        let longest = now.saturating_add(lifetime).saturating_add(lifetime).saturating_add(overlap);
        self.ended.iter_mut().for_each(|ended| ended.until = ended.until.min(longest));
    }

    /// Makes the next key the current one when its time has come, once the key after it has been made.
    fn replace(&mut self, now: UnixSeconds) {
        let Some(keys) = self.keys.as_mut().filter(|keys| keys.next.life.from <= now) else { return };
        let life = self.times.life(keys.next.life.number + 1, now.saturating_add(self.times.lifetime));
        let after = match self.store.create(life) {
            Ok(after) => after,
            Err(error) => return delayed(&self.shared, &error),
        };
        self.shared.report(None);
        let next = mem::replace(&mut keys.next, after);
        let mut old = mem::replace(&mut keys.current, next);
        let until = now.saturating_add(self.times.overlap);
        let shift = mem::replace(&mut old.life.until, until).abs_diff(until);
        if shift > NOTABLE_SHIFT {
            note(&self.store, &old);
        }
        if !outlive_replacement(self.store.weaknesses()) {
            old.key.forget();
        }
        keys.earlier.push(old);
        self.shared.totals.rotated();
        tracing::info!(current = %keys.current.key.public(), next = %keys.next.key.public(), "a new mix key is in use");
    }

    /// Takes from the keys those whose overlap is over.
    fn end(&mut self, now: UnixSeconds) {
        let Some(keys) = &mut self.keys else { return };
        let over = keys.earlier.extract_if(.., |held| held.life.until <= now);
        self.ended.extend(over.map(|held| Ended { key: held.key.public(), until: held.life.until, reported: false }));
    }

    fn publish(&self, now: UnixSeconds) {
        let Some(keys) = &self.keys else { return };
        let state = keys.state(now.saturating_add(self.times.skew));
        self.state.send_if_modified(|before| {
            let changed = !state.is_same(before);
            *before = state;
            changed
        });
    }

    /// Erases what has ended; what cannot be erased is tried again with the next turn.
    fn erase(&mut self, now: UnixSeconds) {
        let store = &self.store;
        self.ended.retain_mut(|ended| {
            if ended.until > now {
                return true;
            }
            let erased = store.erase(&ended.key);
            match &erased {
                Ok(()) => tracing::info!(key = %ended.key, "a mix key and its replay tags are erased"),
                // It is tried again with every turn, and said once.
                Err(error) if !ended.reported => {
                    tracing::error!(key = %ended.key, %error, "an old mix key cannot be erased; it is tried again");
                }
                Err(_) => {}
            }
            ended.reported = true;
            erased.is_err()
        });
    }
}

impl fmt::Debug for Rotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rotation").field("state", &*self.state.borrow()).finish_non_exhaustive()
    }
}

impl Times {
    pub(crate) fn new(config: &Config) -> Self {
        let lifetime = config.lifetime.as_secs();
        Self { lifetime, overlap: config.overlap.as_secs(), skew: CLOCK_SKEW.as_secs().min(lifetime / 4) }
    }

    /// The life of a key that is current from a time on.
    pub(crate) fn life(self, number: u64, from: UnixSeconds) -> Life {
        Life { number, from, until: from.saturating_add(self.lifetime).saturating_add(self.overlap) }
    }

    /// The life of a key that follows one that is made now.
    pub(crate) fn next_life(self, number: u64, now: UnixSeconds) -> Life {
        self.life(number, now.saturating_add(self.lifetime))
    }
}

impl Keys {
    /// What others see of the keys; the next one opens packets if its time begins by `horizon`.
    pub(crate) fn state(&self, horizon: UnixSeconds) -> State {
        let Self { earlier, current, next } = self;
        let early = Some(next).filter(|next| next.life.from <= horizon);
        let open = [current].into_iter().chain(earlier.iter().rev()).chain(early);
        State {
            keys: open.map(|held| Arc::clone(&held.key)).collect(),
            announced: Announced { current: current.key.public(), next: Some((next.key.public(), next.life.from)) },
            current_since: current.life.from,
            overlap_until: earlier.iter().map(|held| held.life.until).max(),
        }
    }
}

impl State {
    fn is_same(&self, other: &Self) -> bool {
        let publics = |state: &Self| state.keys.iter().map(|key| key.public()).collect::<Vec<_>>();
        self.announced == other.announced && publics(self) == publics(other)
    }
}

/// Writes down when a key begins and ends. If that fails, a restart goes by what was written before.
fn note(store: &Store, held: &Held) {
    if let Err(error) = store.note(held) {
        tracing::warn!(key = %held.key.public(), %error, "the new times of a mix key cannot be written down");
    }
}

fn delayed(shared: &Shared, error: &std::io::Error) {
    let problem = format!("no new mix key can be made, the current one stays: {error}");
    let known = shared.problem.lock().is_some();
    if !known {
        tracing::error!(%error, "no new mix key can be made, the current one stays");
    }
    shared.report(Some(problem));
}
