//! A node that sends and reaches nobody: once it has been so for a while, it says so, and what helps.

use std::time::Duration;

use tokio::time::Instant;

/// How long a node that sends may be without a usable mix node before it is said. At the start nodes are reached within
/// seconds, and one whose connections break is reached again within as many.
const LASTS: Duration = Duration::from_secs(60);

/// Since when there is nobody, and whether that was said.
#[derive(Debug, Default)]
pub(super) struct Alone {
    since: Option<Instant>,
    has_said: bool,
}

impl Alone {
    /// Looks at how many mix nodes are usable; `known` counts all that are known.
    pub(super) fn look(&mut self, usable: usize, known: impl FnOnce() -> usize, now: Instant) {
        let Some(is_alone) = self.changes(usable, now) else { return };
        if is_alone {
            tracing::warn!(
                known = known(),
                seconds = LASTS.as_secs(),
                "no mix node can be used, so nothing goes over the mixnet; if all of them have new addresses, hand one over with \
                 `wakumix pool add`, a file of them with `wakumix pool import`; `wakumix pool` shows what is known"
            );
        } else {
            tracing::info!(usable, "mix nodes can be used again");
        }
    }

    /// Whether something is to be said, and whether that is that the node is alone.
    fn changes(&mut self, usable: usize, now: Instant) -> Option<bool> {
        if usable > 0 {
            self.since = None;
            return std::mem::take(&mut self.has_said).then_some(false);
        }
        let since = *self.since.get_or_insert(now);
        let is_time = !self.has_said && now.duration_since(since) >= LASTS;
        self.has_said |= is_time;
        is_time.then_some(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_said_once_when_it_lasts_and_once_when_it_is_over() {
        let (start, mut alone) = (Instant::now(), Alone::default());
        let mut at = |seconds: u64, usable| alone.changes(usable, start + Duration::from_secs(seconds));
        assert_eq!([at(0, 0), at(59, 0), at(60, 0), at(61, 0), at(600, 0)], [None, None, Some(true), None, None]);
        assert_eq!([at(601, 1), at(602, 1)], [Some(false), None]);
        // A short time of it is not worth a word.
        assert_eq!([at(603, 0), at(650, 4), at(651, 0), at(710, 0), at(711, 0)], [None, None, None, None, Some(true)]);
    }
}
