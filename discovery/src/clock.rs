//! The time of an event. Rules take it as an argument; only the actor reads it.

mod skew;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::peer_report::UnixSeconds;

pub(crate) use skew::{Observer, SkewWatch};

/// One moment on both clocks: records carry the wall's time, which may jump; waits and ages are measured by the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) unix: UnixSeconds,
    pub(crate) at: Instant,
}

impl Now {
    pub(crate) fn read() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs());
        Self { unix, at: Instant::now() }
    }

    /// How long ago a moment was; zero for moments to come.
    pub(crate) fn since(self, earlier: Instant) -> Duration {
        self.at.saturating_duration_since(earlier)
    }

    /// How far off a moment is; zero for moments gone by.
    pub(crate) fn until(self, later: Instant) -> Duration {
        later.saturating_duration_since(self.at)
    }

    /// The moment of a wall time. `None` for times to come and for those before this machine can tell.
    pub(crate) fn instant_of(self, unix: UnixSeconds) -> Option<Instant> {
        self.at.checked_sub(Duration::from_secs(self.unix.checked_sub(unix)?))
    }

    /// The wall time of a moment gone by.
    pub(crate) fn unix_of(self, earlier: Instant) -> UnixSeconds {
        self.unix.saturating_sub(self.since(earlier).as_secs())
    }
}
