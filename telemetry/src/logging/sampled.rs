//! Keeps others from filling the log: what libraries warn of is mostly what remotes send, as often as these like.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tracing::{Event, Level, Metadata, callsite::Identifier};
use tracing_subscriber::layer::{Context, Filter};

use super::OWN_TARGETS;

/// Lines of one place in the code of a library that are written within [`WINDOW`].
const LINES: u32 = 10;
const WINDOW: Duration = Duration::from_secs(60);

/// Lines that were left out, in the whole process.
static LEFT_OUT: AtomicU64 = AtomicU64::new(0);

/// Lines of libraries that were not written, because ten of the same place in their code were within a minute.
pub fn lines_left_out() -> u64 {
    LEFT_OUT.load(Ordering::Relaxed)
}

/// Lets ten warnings or errors a minute pass of each place in the code of libraries. There is an entry for each place that
/// was reached, so their number has a bound.
#[derive(Default)]
pub(super) struct Sampled(Mutex<HashMap<Identifier, Window>>);

/// A minute of one place.
struct Window {
    began: Instant,
    lines: u32,
}

impl Sampled {
    fn passes(&self, metadata: &Metadata<'_>, now: Instant) -> bool {
        if metadata.target().starts_with(OWN_TARGETS) || *metadata.level() > Level::WARN {
            return true;
        }
        let mut places = self.0.lock();
        let window = places.entry(metadata.callsite()).or_insert(Window { began: now, lines: 0 });
        if now.saturating_duration_since(window.began) >= WINDOW {
            *window = Window { began: now, lines: 0 };
        }
        window.lines = window.lines.saturating_add(1);
        window.lines <= LINES
    }
}

impl<S> Filter<S> for Sampled {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        let passes = self.passes(event.metadata(), Instant::now());
        if !passes {
            LEFT_OUT.fetch_add(1, Ordering::Relaxed);
        }
        passes
    }
}

#[cfg(test)]
mod tests {
    use tracing::{Callsite, callsite::DefaultCallsite, field::FieldSet, metadata::Kind};

    use super::*;

    /// A place in code that warns, or says something else.
    macro_rules! place {
        ($name:ident, $metadata:ident, $target:literal, $level:expr) => {
            static $name: DefaultCallsite = DefaultCallsite::new(&$metadata);
            static $metadata: Metadata<'static> = Metadata::new(
                "event",
                $target,
                $level,
                None,
                None,
                None,
                FieldSet::new(&[], Identifier(&$name)),
                Kind::EVENT,
            );
        };
    }

    place!(FORGED, FORGED_PACKET, "discv5::handler", Level::WARN);
    place!(OTHER, OTHER_PLACE, "discv5::handler", Level::ERROR);
    place!(DETAIL, DETAIL_ASKED_FOR, "discv5::handler", Level::DEBUG);
    place!(OWN, OWN_WARNING, "wakumix_host", Level::WARN);

    #[test]
    fn each_place_in_a_library_has_ten_lines_a_minute() {
        let (sampled, start) = (Sampled::default(), Instant::now());
        let passed = |place: &DefaultCallsite, at| (0..1000).filter(|_| sampled.passes(place.metadata(), at)).count();
        assert_eq!(passed(&FORGED, start), 10);
        assert_eq!(passed(&FORGED, start + WINDOW / 2), 0);
        assert_eq!(passed(&OTHER, start), 10);
        assert_eq!(passed(&FORGED, start + WINDOW), 10);
        // What was asked for, and what this program says itself.
        assert_eq!((passed(&DETAIL, start), passed(&OWN, start)), (1000, 1000));
    }
}
