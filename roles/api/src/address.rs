//! Bounded addresses: the only way a message reaches an actor.
//!
//! The bound is the channel's own capacity, so it holds for every sender and every clone. What does not fit is given
//! back to the sender ("refuse newest"), who decides what that means for the message and counts it. The queue outlives
//! the actor behind it: after a restart the next instance goes on with what is waiting.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use futures::FutureExt;
use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use wakumix_telemetry::Telemetry;

use crate::metrics::Metric;

/// Makes a queue of `capacity` messages; `name` labels its metrics.
pub fn mailbox<M: Send + 'static>(
    name: &'static str,
    capacity: usize,
    telemetry: &Telemetry,
) -> (Address<M>, Inbox<M>) {
    let (sender, receiver) = mpsc::channel(capacity.max(1));
    let labels = [("queue", name)];
    let shared = Arc::new(Shared {
        name,
        closed: AtomicBool::new(false),
        receiver: Mutex::new(Some(Queue { channel: receiver, next: Vec::new() })),
        refused: telemetry.counter(Metric::QueueRefusedTotal, &labels),
        wait: telemetry.histogram(Metric::QueueWaitSeconds, &labels),
    });
    telemetry.gauge(Metric::QueueCapacity, &labels).set(count(capacity.max(1)));
    let depth = telemetry.gauge(Metric::QueueDepth, &labels);
    let probe = sender.downgrade();
    telemetry.on_scrape(move |_| {
        if let Some(sender) = probe.upgrade() {
            let waiting = sender.max_capacity() - sender.capacity();
            depth.set(count(waiting));
        }
    });
    (Address { sender, shared: Arc::clone(&shared) }, Inbox { shared })
}

/// A number of messages as a metric's value; no queue is longer than `u32` counts.
fn count(messages: usize) -> u32 {
    u32::try_from(messages).unwrap_or(u32::MAX)
}

/// The sending end of an actor's queue. Cheap to clone.
pub struct Address<M> {
    sender: mpsc::Sender<Envelope<M>>,
    shared: Arc<Shared<M>>,
}

/// The receiving end, handed to [`Supervisor::start`](crate::Supervisor::start) or read directly with
/// [`Inbox::receiver`] by something that is not an actor.
pub struct Inbox<M> {
    shared: Arc<Shared<M>>,
}

/// Room for one message.
pub struct Slot<'a, M>(mpsc::Permit<'a, Envelope<M>>);

impl<M> Slot<'_, M> {
    /// Sends the message that the room was made for.
    pub fn send(self, message: M) {
        self.0.send(Envelope::new(message));
    }
}

/// Why there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoom {
    /// The queue is full: refuse newest.
    Full,
    /// The actor is stopping or gone.
    Closed,
}

impl NoRoom {
    /// Gives `value` back with this reason.
    pub fn refuse<T>(self, value: T) -> SendError<T> {
        match self {
            Self::Full => SendError::Full(value),
            Self::Closed => SendError::Closed(value),
        }
    }
}

/// Why a message was not taken; the message comes back.
#[derive(thiserror::Error)]
pub enum SendError<M> {
    /// The queue is full: refuse newest.
    #[error("the queue is full")]
    Full(M),
    /// The actor is stopping or gone.
    #[error("the receiver has stopped")]
    Closed(M),
}

impl<M> SendError<M> {
    /// The message that was not sent.
    pub fn into_inner(self) -> M {
        match self {
            Self::Full(message) | Self::Closed(message) => message,
        }
    }

    /// Whether waiting could help.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full(_))
    }
}

impl<M> std::fmt::Debug for SendError<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.is_full() { "Full" } else { "Closed" })
    }
}

impl<M: Send + 'static> Address<M> {
    /// Sends without waiting; gives the message back when the queue is full or closed.
    pub fn try_send(&self, message: M) -> Result<(), SendError<M>> {
        match self.try_reserve() {
            Ok(slot) => {
                slot.send(message);
                Ok(())
            }
            Err(no_room) => Err(no_room.refuse(message)),
        }
    }

    /// Room for one message, for who builds the message only if it can be sent.
    pub fn try_reserve(&self) -> Result<Slot<'_, M>, NoRoom> {
        if self.is_closed() {
            return Err(NoRoom::Closed);
        }
        self.sender.try_reserve().map(Slot).map_err(|error| match error {
            mpsc::error::TrySendError::Full(()) => {
                self.shared.refused.increment(1);
                NoRoom::Full
            }
            mpsc::error::TrySendError::Closed(()) => NoRoom::Closed,
        })
    }

    /// Sends, waiting for room.
    ///
    /// Cancel safe: yes; a dropped future has sent nothing.
    pub async fn send(&self, message: M) -> Result<(), SendError<M>> {
        if self.is_closed() {
            return Err(SendError::Closed(message));
        }
        match self.sender.reserve().await {
            Ok(permit) => {
                permit.send(Envelope::new(message));
                Ok(())
            }
            Err(_) => Err(SendError::Closed(message)),
        }
    }

    /// Sends a message that carries the way for its answer, waiting for room, and waits for the answer; `None` when the
    /// owner has stopped, or lets the message go unanswered.
    ///
    /// Cancel safe: yes; the message is then sent or not, and its answer is dropped.
    pub async fn ask<R>(&self, message: impl FnOnce(oneshot::Sender<R>) -> M) -> Option<R> {
        let (reply, answer) = oneshot::channel();
        self.send(message(reply)).await.ok()?;
        answer.await.ok()
    }

    /// Waits until there is room for one message, without sending; back-pressure for pollers.
    ///
    /// Cancel safe: yes.
    pub async fn ready(&self) -> bool {
        !self.is_closed() && self.sender.reserve().await.is_ok()
    }

    /// The name that labels this queue's metrics.
    pub fn name(&self) -> &'static str {
        self.shared.name
    }

    /// Refuses all further messages. Those already queued are still handled.
    pub fn close(&self) {
        self.shared.closed.store(true, Ordering::Release);
    }

    /// Whether [`close`](Self::close) was called or the receiver is gone.
    pub fn is_closed(&self) -> bool {
        self.shared.closed.load(Ordering::Acquire) || self.sender.is_closed()
    }

    /// Messages that wait now.
    pub fn len(&self) -> usize {
        self.sender.max_capacity() - self.sender.capacity()
    }

    /// Whether no message waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<M> Clone for Address<M> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), shared: Arc::clone(&self.shared) }
    }
}

impl<M> std::fmt::Debug for Address<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Address({})", self.shared.name)
    }
}

impl<M> std::fmt::Debug for Inbox<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Inbox")
    }
}

impl<M: Send + 'static> Inbox<M> {
    /// Takes the receiving end out. It goes back into the inbox when dropped, so a restarted owner finds the rest of
    /// the queue. `None` while somebody else holds it.
    pub fn receiver(&self) -> Option<Receiver<M>> {
        let queue = self.shared.receiver.lock().take()?;
        Some(Receiver { queue: Some(queue), shared: Arc::clone(&self.shared) })
    }

    /// Refuses all further messages; those already queued stay readable.
    pub fn close(&self) {
        self.shared.closed.store(true, Ordering::Release);
    }

    /// The name that labels this queue's metrics.
    pub fn name(&self) -> &'static str {
        self.shared.name
    }
}

impl<M> Clone for Inbox<M> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

/// Reads an inbox; records how long each message waited.
pub struct Receiver<M> {
    /// `None` only while it is dropped.
    queue: Option<Queue<M>>,
    shared: Arc<Shared<M>>,
}

/// What waits: the channel, and before it what has been taken out of it to see that there is something.
struct Queue<M> {
    channel: mpsc::Receiver<Envelope<M>>,
    next: Vec<Envelope<M>>,
}

impl<M> Receiver<M> {
    /// The next message, or `None` when every address is gone.
    ///
    /// Cancel safe: yes; a message is either returned or stays queued.
    pub async fn recv(&mut self) -> Option<M> {
        std::future::poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// Poll form of [`recv`](Self::recv).
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<M>> {
        let Some(queue) = self.queue.as_mut() else { return Poll::Ready(None) };
        let envelope = match queue.next.pop() {
            Some(envelope) => Poll::Ready(Some(envelope)),
            None => queue.channel.poll_recv(cx),
        };
        envelope.map(|envelope| envelope.map(|envelope| self.shared.opened(envelope, Instant::now())))
    }

    /// Waits until there is a message; false when there will be none.
    ///
    /// Cancel safe: yes; nothing leaves the queue.
    pub(crate) async fn filled(&mut self) -> bool {
        let Some(queue) = self.queue.as_mut() else { return false };
        !queue.next.is_empty() || queue.channel.recv_many(&mut queue.next, 1).await > 0
    }

    /// What waits, up to `limit` messages, in their order.
    pub(crate) fn take(&mut self, limit: usize) -> Vec<M> {
        let Some(queue) = self.queue.as_mut() else { return Vec::new() };
        let more = limit.saturating_sub(queue.next.len()).min(queue.channel.len());
        if more > 0 {
            // What is there is taken at once, so this does not wait.
            let _ = queue.channel.recv_many(&mut queue.next, more).now_or_never();
        }
        let (now, count) = (Instant::now(), limit.min(queue.next.len()));
        queue.next.drain(..count).map(|envelope| self.shared.opened(envelope, now)).collect()
    }

    /// Messages that wait now.
    pub fn len(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.next.len() + queue.channel.len())
    }

    /// Whether no message waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The next message if one waits.
    pub fn try_recv(&mut self) -> Option<M> {
        let queue = self.queue.as_mut()?;
        let envelope = queue.next.pop().or_else(|| queue.channel.try_recv().ok())?;
        Some(self.shared.opened(envelope, Instant::now()))
    }
}

impl<M> Drop for Receiver<M> {
    fn drop(&mut self) {
        *self.shared.receiver.lock() = self.queue.take();
    }
}

/// A message and when it was sent.
struct Envelope<M> {
    message: M,
    sent: Instant,
}

impl<M> Envelope<M> {
    fn new(message: M) -> Self {
        Self { message, sent: Instant::now() }
    }
}

struct Shared<M> {
    name: &'static str,
    closed: AtomicBool,
    receiver: Mutex<Option<Queue<M>>>,
    refused: wakumix_telemetry::Counter,
    wait: wakumix_telemetry::Histogram,
}

impl<M> Shared<M> {
    fn opened(&self, envelope: Envelope<M>, now: Instant) -> M {
        self.wait.record(now.saturating_duration_since(envelope.sent));
        envelope.message
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::telemetry;

    #[tokio::test]
    async fn refuses_the_newest_when_full_and_gives_it_back() {
        let (address, inbox) = mailbox("test", 2, &telemetry());
        address.try_send(1).unwrap();
        address.clone().try_send(2).unwrap();
        let refused = address.clone().try_send(3).unwrap_err();
        assert!(refused.is_full());
        assert_eq!(refused.into_inner(), 3);
        let mut receiver = inbox.receiver().unwrap();
        assert_eq!(receiver.recv().await, Some(1));
        address.try_send(4).unwrap();
        assert_eq!(address.len(), 2);
    }

    #[tokio::test]
    async fn keeps_the_queue_when_the_reader_is_replaced() {
        let (address, inbox) = mailbox("test", 4, &telemetry());
        for n in 0..3 {
            address.try_send(n).unwrap();
        }
        let mut first = inbox.receiver().unwrap();
        assert_eq!(first.recv().await, Some(0));
        assert!(inbox.receiver().is_none(), "two readers would split the queue");
        drop(first);
        let mut second = inbox.receiver().unwrap();
        assert_eq!(second.recv().await, Some(1));
        assert_eq!(second.recv().await, Some(2));
    }

    #[tokio::test]
    async fn a_closed_address_refuses_but_what_waits_is_still_read() {
        let (address, inbox) = mailbox("test", 4, &telemetry());
        address.try_send(1).unwrap();
        address.close();
        assert!(matches!(address.try_send(2), Err(SendError::Closed(2))));
        assert!(matches!(address.send(3).await, Err(SendError::Closed(3))));
        assert_eq!(inbox.receiver().unwrap().recv().await, Some(1));
    }
}
