//! A bounded pool of packet buffers.
//!
//! The number of buffers in use bounds the memory that packets take in a node. Buffers are made when first needed,
//! come back by themselves, and are wiped on the way.

use core::fmt;
use core::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A pool of equally long buffers; clones are handles to the same pool.
#[derive(Clone)]
pub struct BufferPool(Arc<Shared>);

struct Shared {
    capacity: usize,
    buffer_len: usize,
    state: Mutex<State>,
}

struct State {
    in_use: usize,
    free: Vec<Box<[u8]>>,
}

impl BufferPool {
    /// A pool of at most `capacity` buffers of `buffer_len` bytes, none of them made yet.
    #[must_use]
    pub fn new(capacity: usize, buffer_len: usize) -> Self {
        Self(Arc::new(Shared { capacity, buffer_len, state: Mutex::new(State { in_use: 0, free: Vec::new() }) }))
    }

    /// A buffer of zeros, or `None` when all are in use.
    #[must_use]
    pub fn take(&self) -> Option<PacketBuf> {
        let mut state = self.0.lock();
        if state.in_use >= self.0.capacity {
            return None;
        }
        state.in_use += 1;
        let recycled = state.free.pop();
        drop(state);
        let bytes = recycled.unwrap_or_else(|| vec![0; self.0.buffer_len].into_boxed_slice());
        Some(PacketBuf { bytes, pool: Arc::clone(&self.0) })
    }

    /// Buffers taken and not yet returned.
    #[must_use]
    pub fn in_use(&self) -> usize {
        self.0.lock().in_use
    }

    /// The most buffers that can be in use at once.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.0.capacity
    }

    /// Bytes of each buffer.
    #[must_use]
    pub fn buffer_len(&self) -> usize {
        self.0.buffer_len
    }
}

impl Shared {
    /// No code panics while it holds the lock, so a poisoned state is still consistent.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for BufferPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferPool")
            .field("capacity", &self.0.capacity)
            .field("buffer_len", &self.0.buffer_len)
            .field("in_use", &self.in_use())
            .finish()
    }
}

/// One buffer of a [`BufferPool`]; dropping it wipes it and gives it back.
pub struct PacketBuf {
    bytes: Box<[u8]>,
    pool: Arc<Shared>,
}

impl Deref for PacketBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl DerefMut for PacketBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for PacketBuf {
    fn drop(&mut self) {
        // A plain fill: the buffer lives on in the pool, so the writes cannot be optimised away.
        self.bytes.fill(0);
        let mut state = self.pool.lock();
        state.in_use -= 1;
        state.free.push(core::mem::take(&mut self.bytes));
    }
}

impl fmt::Debug for PacketBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PacketBuf({} bytes)", self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_no_more_than_its_capacity_and_takes_back_on_drop() {
        let pool = BufferPool::new(2, 8);
        let first = pool.take().unwrap();
        let second = pool.take().unwrap();
        assert_eq!((pool.in_use(), first.len()), (2, 8));
        let handle = pool.clone();
        assert!(pool.take().is_none() && handle.take().is_none());
        drop(first);
        assert_eq!(pool.in_use(), 1);
        assert!(pool.take().is_some());
        drop(second);
        assert_eq!(pool.in_use(), 0);
    }

    #[test]
    fn makes_a_buffer_only_when_no_returned_one_is_free() {
        let pool = BufferPool::new(4, 8);
        for _ in 0..3 {
            drop(pool.take());
        }
        assert_eq!(pool.0.lock().free.len(), 1);
    }

    #[test]
    fn a_returned_buffer_is_wiped() {
        let pool = BufferPool::new(1, 8);
        let mut buffer = pool.take().unwrap();
        buffer.fill(0xAB);
        drop(buffer);
        assert_eq!(*pool.take().unwrap(), [0; 8]);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the node shares a pool between threads")]
    fn a_buffer_may_come_back_from_another_thread() {
        let pool = BufferPool::new(1, 8);
        let buffer = pool.take().unwrap();
        std::thread::spawn(move || drop(buffer)).join().unwrap();
        assert_eq!(pool.in_use(), 0);
    }
}
