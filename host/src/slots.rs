//! How many streams a peer may open, counted over all its connections.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Counts the inbound streams of one peer over all its connections.
#[derive(Debug, Default)]
pub(crate) struct StreamSlots(AtomicUsize);

/// One inbound stream; gives its place back when dropped.
#[derive(Debug)]
pub(crate) struct StreamSlot(Arc<StreamSlots>);

impl StreamSlots {
    /// A place for one more stream, unless `limit` are taken.
    pub(crate) fn take(self: &Arc<Self>, limit: usize) -> Option<StreamSlot> {
        self.0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |open| (open < limit).then_some(open + 1))
            .ok()
            .map(|_| StreamSlot(Arc::clone(self)))
    }
}

impl Drop for StreamSlot {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}
