//! The memory of requests that peers write and this node answers, over all peers.
//!
//! An announced length costs nothing; what has come costs a place here, from the first bytes until the answer is written. When
//! there is none left, the body that began first and is not complete after [`READING_GRACE`] gives way, else the newest ends.

use std::{collections::BTreeMap, io, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{sync::oneshot, time::Instant};

/// A body of 200 KiB takes 1.6 s at 1 Mbit/s.
const READING_GRACE: Duration = Duration::from_secs(2);

/// Memory of bodies.
#[derive(Debug)]
pub(super) struct Bodies {
    limit: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    taken: usize,
    next: u64,
    /// Those that are not complete, in the order in which they began. Bound: streams that peers may have.
    reading: BTreeMap<u64, Reading>,
}

#[derive(Debug)]
struct Reading {
    since: Instant,
    bytes: usize,
    /// Dropped when the body gives way.
    _go_on: oneshot::Sender<()>,
}

/// The place of one body.
#[derive(Debug)]
pub(super) struct BodyPlace {
    all: Arc<Bodies>,
    number: u64,
    /// Of a complete body.
    bytes: usize,
}

impl Bodies {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, state: Mutex::default() })
    }

    /// A body begins; the receiver ends when it has to give way.
    pub(super) fn begin(self: &Arc<Self>) -> (BodyPlace, oneshot::Receiver<()>) {
        let (go_on, gives_way) = oneshot::channel();
        let mut state = self.state.lock();
        let number = state.next;
        state.next += 1;
        state.reading.insert(number, Reading { since: Instant::now(), bytes: 0, _go_on: go_on });
        (BodyPlace { all: Arc::clone(self), number, bytes: 0 }, gives_way)
    }
}

impl State {
    /// The body that gives way to another.
    fn slowest(&self, but: u64, now: Instant) -> Option<u64> {
        let mut others = self.reading.iter().filter(|(number, reading)| **number != but && reading.bytes > 0);
        let (number, reading) = others.next()?;
        (now.saturating_duration_since(reading.since) >= READING_GRACE).then_some(*number)
    }

    fn end(&mut self, number: u64) {
        if let Some(reading) = self.reading.remove(&number) {
            self.taken -= reading.bytes;
        }
    }
}

impl BodyPlace {
    /// Takes memory for so many bytes more.
    ///
    /// # Errors
    /// There is none, or this body had to give way.
    pub(super) fn grow(&self, bytes: usize) -> io::Result<()> {
        let mut state = self.all.state.lock();
        let now = Instant::now();
        while state.taken + bytes > self.all.limit {
            let slowest = state.slowest(self.number, now).ok_or_else(no_room)?;
            state.end(slowest);
        }
        let reading = state.reading.get_mut(&self.number).ok_or_else(no_room)?;
        reading.bytes += bytes;
        state.taken += bytes;
        Ok(())
    }

    /// The body is complete: from now on it gives way to nobody.
    ///
    /// # Errors
    /// It has given way already.
    pub(super) fn complete(&mut self) -> io::Result<()> {
        let reading = self.all.state.lock().reading.remove(&self.number);
        self.bytes = reading.ok_or_else(no_room)?.bytes;
        Ok(())
    }
}

fn no_room() -> io::Error {
    io::Error::new(io::ErrorKind::QuotaExceeded, "no memory for another request")
}

impl Drop for BodyPlace {
    fn drop(&mut self) {
        let mut state = self.all.state.lock();
        state.taken -= self.bytes;
        state.end(self.number);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_slowest_body_gives_way_and_a_complete_one_does_not() {
        let bodies = Bodies::new(10);
        let (mut complete, _) = bodies.begin();
        complete.grow(4).unwrap();
        complete.complete().unwrap();
        let (mut slow, mut gives_way) = bodies.begin();
        slow.grow(6).unwrap();
        let (next, _go_on) = bodies.begin();
        assert!(next.grow(1).is_err(), "nobody is slow yet");
        advance(READING_GRACE).await;
        next.grow(6).unwrap();
        assert_eq!(gives_way.try_recv(), Err(oneshot::error::TryRecvError::Closed));
        assert!(slow.grow(1).is_err() && slow.complete().is_err());
        assert!(next.grow(1).is_err(), "there is nobody else");
        drop((complete, slow, next));
        let state = bodies.state.lock();
        assert!(state.taken == 0 && state.reading.is_empty());
    }
}
