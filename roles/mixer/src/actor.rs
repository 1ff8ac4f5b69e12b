//! The mixer's actor: takes received packets in batches, each when a worker is free for it, and starts the work on them. What
//! it does not take waits in its queue, whose bound is the back-pressure.

use std::sync::Arc;

use futures::{FutureExt, future::BoxFuture};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use wakumix_mix::{Packet, Stage, admission::Pressure};
use wakumix_role_api::{Actor, Address, Context, Intake, OnPanic, Tasks};

use crate::batches::Batches;

/// Batches under way, most of them waiting for their tags to be written. With batches of 32 and 20 ms for a write, which a
/// slow disk needs, they are 100 000 packets/s, more than can be admitted; they hold at most 2048 packets, 9.4 MB.
const MAX_BATCHES: usize = 64;

/// Quarters of the queue that may be full before packets count as piling up. The last one takes what comes until the host
/// has heard of it, and bursts that end by themselves.
const PILED_UP: usize = 3;

/// All fields are derivable: the factory makes them anew after a panic. What must survive one, queues and tags, is
/// not here. Batches under way go on.
#[derive(Clone)]
pub(crate) struct MixerActor {
    pub(crate) queue: Address<Packet>,
    pub(crate) max_waiting: usize,
    pub(crate) max_batch: usize,
    /// Raised when more than [`PILED_UP`] of the queue is full.
    pub(crate) pressure: Arc<Pressure>,
    pub(crate) batches: Batches,
    pub(crate) tasks: Tasks,
    /// One permit for each batch that may be under way.
    pub(crate) under_way: Arc<Semaphore>,
}

impl MixerActor {
    /// Room for all batches that may be under way.
    pub(crate) fn room() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(MAX_BATCHES))
    }
}

impl Actor for MixerActor {
    type Message = Packet;

    const NAME: &'static str = "mixer";

    /// A batch takes what is waiting, so batches are small when there is little to do and large when there is much.
    fn intake(&self) -> Intake {
        Intake {
            batch: self.max_batch,
            permits: vec![Arc::clone(&self.under_way), Arc::clone(&self.batches.admissions)],
        }
    }

    fn handle(&mut self, packet: Packet, context: &Context<Packet>) {
        self.handle_batch(vec![packet], Vec::new(), context);
    }

    fn handle_batch(&mut self, mut batch: Vec<Packet>, mut permits: Vec<OwnedSemaphorePermit>, _: &Context<Packet>) {
        if self.queue.len() + batch.len() > self.max_waiting * PILED_UP / 4 {
            self.pressure.raise();
        }
        batch.iter_mut().for_each(|packet| packet.enter(Stage::Unwrap));
        // The permit to be admitted is free for the next batch sooner than the place of this one.
        let admission = permits.pop();
        let work = self.batches.clone().work(admission, batch);
        // A panic loses its packets, which the ledger counts as abandoned. The work outlives an actor that is restarted.
        self.tasks.spawn("mixer_batch", OnPanic::Report, async move {
            let _place = permits;
            work.await;
        });
    }

    /// Waits for the batches under way; they stop waiting for their tags at the deadline.
    fn drain(&mut self, _: Instant, _: &Context<Packet>) -> BoxFuture<'static, ()> {
        let (under_way, all) = (Arc::clone(&self.under_way), u32::try_from(MAX_BATCHES).unwrap_or(u32::MAX));
        // The semaphore is never closed.
        async move { drop(under_way.acquire_many_owned(all).await) }.boxed()
    }
}
