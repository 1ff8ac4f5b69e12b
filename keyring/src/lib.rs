//! A node's mix keys, each with the replay tags of the packets that it has opened.
//!
//! Key and tags are one unit: they are made together, live as long as each other, and are erased together
//! (`spec/mix-wire.md` §15, §21 W4). Whoever opens packets holds a [`KeyRing`], tries its [`keys`](KeyRing::keys) in order,
//! and has the tags of what was authentic admitted and [committed](Admitted::committed) before anything is done with the
//! packets.

mod key;

use std::sync::Arc;

use tokio::sync::watch;
use wakumix_sphinx::{PrivateKey, PublicKey};

pub use key::{Admitted, MixKey, Uncommitted};

/// Seconds since the Unix epoch.
pub type UnixSeconds = u64;

/// The keys of a node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct KeyRing {
    state: watch::Receiver<State>,
    /// Keeps the state alive for a ring that nobody rotates.
    _owner: Arc<watch::Sender<State>>,
}

/// What others may know of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announced {
    /// The key that packets are to be made for now.
    pub current: PublicKey,
    /// The key that follows, and from when.
    pub next: Option<(PublicKey, UnixSeconds)>,
}

#[derive(Clone, Debug)]
struct State {
    keys: Arc<[Arc<MixKey>]>,
    announced: Announced,
}

impl KeyRing {
    /// A ring of one key that is never replaced, with room for `tags` tags in memory. They are lost with the process.
    #[must_use]
    pub fn fixed(key: PrivateKey, tags: usize) -> Self {
        let announced = Announced { current: key.public(), next: None };
        let keys = [Arc::new(MixKey::in_memory(key, tags))].into();
        let (owner, state) = watch::channel(State { keys, announced });
        Self { state, _owner: Arc::new(owner) }
    }

    /// The keys that open packets now, the likeliest first; never empty.
    #[must_use]
    pub fn keys(&self) -> Arc<[Arc<MixKey>]> {
        Arc::clone(&self.state.borrow().keys)
    }

    /// What others may know.
    #[must_use]
    pub fn announced(&self) -> Announced {
        self.state.borrow().announced
    }

    /// The public half of the current key.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        self.announced().current
    }

    /// Waits for other keys or another announcement; false when there will be none.
    ///
    /// Cancel safe: yes.
    pub async fn changed(&mut self) -> bool {
        self.state.changed().await.is_ok()
    }
}
