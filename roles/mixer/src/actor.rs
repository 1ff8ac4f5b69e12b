//! The mixer's actor: takes received packets in batches, each when a worker is free for it, and gives them to that worker. What
//! it does not take waits in its queue, whose bound is the back-pressure.

use std::sync::Arc;

use futures::{FutureExt, future::BoxFuture};
use tokio::time::Instant;
use wakumix_mix::{Packet, Stage, admission::Pressure};
use wakumix_role_api::{Actor, Address, Context, Intake, Taken};

use crate::batches::Batches;

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
    pub(crate) batches: Arc<Batches>,
}

impl Actor for MixerActor {
    type Message = Packet;

    const NAME: &'static str = "mixer";

    /// A batch takes what is waiting, so batches are small when there is little to do and large when there is much.
    fn intake(&self) -> Intake {
        let Batches { under_way, workers, .. } = &*self.batches;
        Intake { batch: self.max_batch, places: Some(Arc::clone(under_way)), workers: Some(workers.clone()) }
    }

    /// Packets come in batches.
    fn handle(&mut self, packet: Packet, _: &Context<Packet>) {
        drop(packet);
    }

    fn handle_batch(&mut self, taken: Taken<Packet>, _: &Context<Packet>) {
        let Taken { mut messages, place, worker } = taken;
        // Both were asked for.
        let (Some(place), Some(worker)) = (place, worker) else { return };
        if self.queue.len() + messages.len() > self.max_waiting * PILED_UP / 4 {
            self.pressure.raise();
        }
        messages.iter_mut().for_each(|packet| packet.enter(Stage::Unwrap));
        self.batches.start(place, worker, messages);
    }

    /// Waits for the batches under way; they stop waiting for their tags at the deadline.
    fn drain(&mut self, _: Instant, _: &Context<Packet>) -> BoxFuture<'static, ()> {
        Arc::clone(&self.batches).ended().boxed()
    }
}
