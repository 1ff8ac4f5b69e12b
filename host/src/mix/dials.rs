//! Dials under way for waiting packets: how many there may be, how long each may take, and which gives way.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use libp2p::{PeerId, swarm::ConnectionId};
use tokio::time::{Instant, Sleep, sleep_until};

/// After this a dial gives way to another when all places are taken: three round trips to the other side of the world.
const GRACE: Duration = Duration::from_secs(1);

/// The dials of one format.
pub(super) struct Dials {
    max: usize,
    timeout: Duration,
    /// In the order of their start. Bound: `max`.
    under_way: VecDeque<Dial>,
    /// Set to the end of the oldest.
    timer: Option<Pin<Box<Sleep>>>,
}

/// A dial that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dial {
    pub(super) peer: PeerId,
    pub(super) connection: ConnectionId,
    since: Instant,
}

/// Whether one more dial may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// It may.
    Free,
    /// If this one is given up.
    InPlaceOf(Dial),
    /// All are too young.
    None,
}

impl Dials {
    pub(super) fn new(max: usize, timeout: Duration) -> Self {
        Self { max, timeout, under_way: VecDeque::new(), timer: None }
    }

    /// Whether there is room for one more.
    pub(super) fn room(&self, now: Instant) -> Room {
        if self.under_way.len() < self.max {
            return Room::Free;
        }
        let oldest = self.under_way.front().filter(|dial| now.saturating_duration_since(dial.since) >= GRACE);
        oldest.map_or(Room::None, |dial| Room::InPlaceOf(*dial))
    }

    /// A dial has begun.
    pub(super) fn begin(&mut self, peer: PeerId, connection: ConnectionId, now: Instant) {
        self.under_way.push_back(Dial { peer, connection, since: now });
    }

    /// A dial has ended, however.
    pub(super) fn end(&mut self, connection: ConnectionId) {
        self.under_way.retain(|dial| dial.connection != connection);
    }

    /// The next dial that took too long. It stays until [`Self::end`].
    pub(super) fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<Dial> {
        let Some(oldest) = self.under_way.front().copied() else { return Poll::Pending };
        let end = oldest.since + self.timeout;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(end)));
        if timer.deadline() != end {
            timer.as_mut().reset(end);
        }
        timer.as_mut().poll(cx).map(|()| oldest)
    }
}

#[cfg(test)]
mod tests {
    use futures::task::noop_waker;

    use super::*;

    fn connection(number: usize) -> ConnectionId {
        ConnectionId::new_unchecked(2_000_000 + number)
    }

    fn late(dials: &mut Dials) -> Option<ConnectionId> {
        let waker = noop_waker();
        match dials.poll_late(&mut Context::from_waker(&waker)) {
            Poll::Ready(dial) => Some(dial.connection),
            Poll::Pending => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_gives_way_once_it_has_had_its_time() {
        let (mut dials, start) = (Dials::new(2, Duration::from_secs(5)), Instant::now());
        dials.begin(PeerId::random(), connection(1), start);
        assert_eq!(dials.room(start), Room::Free);
        dials.begin(PeerId::random(), connection(2), start);
        assert_eq!(dials.room(start), Room::None);
        let Room::InPlaceOf(oldest) = dials.room(start + GRACE) else { panic!("none gives way") };
        assert_eq!(oldest.connection, connection(1));
        dials.end(oldest.connection);
        assert_eq!(dials.room(start), Room::Free);
    }

    #[tokio::test(start_paused = true)]
    async fn a_dial_is_late_after_its_timeout() {
        let mut dials = Dials::new(4, Duration::from_secs(5));
        dials.begin(PeerId::random(), connection(1), Instant::now());
        tokio::time::advance(Duration::from_secs(3)).await;
        dials.begin(PeerId::random(), connection(2), Instant::now());
        assert_eq!(late(&mut dials), None);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(late(&mut dials), Some(connection(1)));
        dials.end(connection(1));
        assert_eq!(late(&mut dials), None);
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(late(&mut dials), Some(connection(2)));
    }
}
