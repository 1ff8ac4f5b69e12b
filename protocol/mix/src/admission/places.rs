//! Room for packets in the node, and how many of one peer are in it at a time.
//!
//! A peer may have as many packets in the node as there is room left. A peer alone so gets up to half of the room; `k` peers
//! that want all of it get `1 / (k + 1)` of it each, and as much stays free for the others, however long the packets are held.
//! That is the dynamic threshold of switches with shared memory (Choudhury and Hahne, 1998): nothing has to know how many
//! peers want room.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Below so many places, peers are not held apart: half of a small room is less than the queue of one neighbour, and in a
/// small net one neighbour may bring all of the traffic. Then what the room is for holds all of them back.
const SMALL: usize = 1024;

/// The room of a node.
#[derive(Debug)]
pub struct Room {
    places: usize,
    taken: AtomicUsize,
}

impl Room {
    /// So many places, all free.
    #[must_use]
    pub fn new(places: usize) -> Arc<Self> {
        Arc::new(Self { places, taken: AtomicUsize::new(0) })
    }

    /// Places that are taken.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Acquire)
    }

    /// Whether a peer who has so many places may have one more.
    fn leaves_room_for(&self, has: usize) -> bool {
        self.places < SMALL || has < self.places.saturating_sub(self.taken())
    }
}

/// The places of one peer's packets. Shared by whoever reads from that peer; a packet keeps its place until it ends.
#[derive(Debug)]
pub struct Places {
    room: Arc<Room>,
    taken: AtomicUsize,
}

/// One place; it is free again when this is dropped. It does not tell whose it is.
#[derive(Debug)]
pub struct Place(Arc<Places>);

impl Places {
    /// The places of a peer of which nothing is in the room.
    #[must_use]
    pub fn of(room: &Arc<Room>) -> Arc<Self> {
        Arc::new(Self { room: Arc::clone(room), taken: AtomicUsize::new(0) })
    }

    /// A place, unless the peer has as many as there is room left. Peers who ask at the same moment may each get one.
    #[must_use]
    pub fn take(self: &Arc<Self>) -> Option<Place> {
        let one_more = |taken| self.room.leaves_room_for(taken).then_some(taken + 1);
        self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).ok()?;
        self.room.taken.fetch_add(1, Ordering::AcqRel);
        Some(Place(Arc::clone(self)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::AcqRel);
        self.0.room.taken.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Takes all that a peer can have.
    fn all(places: &Arc<Places>) -> Vec<Place> {
        std::iter::from_fn(|| places.take()).collect()
    }

    #[test]
    fn a_peer_alone_has_half_of_the_room_and_gives_it_back() {
        let room = Room::new(4096);
        let peer = Places::of(&room);
        let mut taken = all(&peer);
        assert_eq!(taken.len(), 2048);
        taken.pop();
        assert!(peer.take().is_some());
        drop(taken);
        assert_eq!(all(&Places::of(&room)).len(), 2048);
    }

    #[test]
    fn a_small_room_holds_nobody_back() {
        let peer = Places::of(&Room::new(SMALL - 1));
        let taken: Vec<_> = (0..SMALL).map_while(|_| peer.take()).collect();
        assert_eq!(taken.len(), SMALL);
    }

    proptest! {
        #[test]
        fn peers_who_want_all_leave_one_part_of_the_room(peers in 1_usize..40, room in SMALL..20_000) {
            let room = Room::new(room);
            let greedy: Vec<_> = (0..peers).map(|_| Places::of(&room)).collect();
            // By turns, as they would come.
            let mut taken = Vec::new();
            loop {
                let before = taken.len();
                taken.extend(greedy.iter().filter_map(Places::take));
                if taken.len() == before {
                    break;
                }
            }
            let free = room.places - taken.len();
            let part = room.places / (peers + 1);
            prop_assert!(free + 1 >= part && free <= part + peers + 1, "{free} of {part} are free");
            prop_assert!(Places::of(&room).take().is_some(), "one who has none gets a place");
        }
    }
}
