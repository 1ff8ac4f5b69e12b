//! The shell: takes packets, has the rules decide, starts the tasks that carry it out.

use std::sync::Arc;

use futures::{FutureExt, future::BoxFuture};
use rand::{SeedableRng, rngs::StdRng};
use tokio::{sync::Semaphore, time::Instant};
use wakumix_mix::{DropReason, HopAddress, Outcome, Packet, Stage};
use wakumix_role_api::{
    Actor, Context, DirectoryReader, Formats, LocalNode, Served, Services,
    exit::{ExitMessage, ExitPacket},
};
use wakumix_sphinx::AddressBytes;

use crate::{
    config::Config,
    exchange::{Errand, Exchange, Shared},
    incoming::{Incoming, TakenRequest, read, unframe},
    metrics::RequestOutcome,
    policy::{Me, Target, target},
};

/// The exit. Its requests are ephemeral: after a panic their senders hear nothing.
pub(crate) struct Exit {
    pub(crate) config: Arc<Config>,
    pub(crate) node: LocalNode,
    pub(crate) formats: Formats,
    pub(crate) services: Services,
    pub(crate) directory: DirectoryReader,
    pub(crate) shared: Arc<Shared>,
    /// One permit for each request that may be at work.
    pub(crate) places: Arc<Semaphore>,
    pub(crate) rng: StdRng,
}

impl Actor for Exit {
    type Message = ExitMessage;
    const NAME: &'static str = "exit";

    fn handle(&mut self, message: ExitMessage, context: &Context<ExitMessage>) {
        let ExitMessage::Packet(ExitPacket { destination, mut packet, body }) = message;
        packet.enter(Stage::Exit);
        let Some(served) = self.formats.of(&packet).cloned() else { return packet.reject(DropReason::Size) };
        match read(&*served.format, &packet, body) {
            Ok(Incoming::Cover) => packet.settle(Outcome::Cover),
            Ok(Incoming::Request(request)) => self.request(&destination, packet, served, request, context),
            Err(reason) => packet.reject(reason),
        }
    }

    /// Waits for the requests at work; each has a time limit.
    fn drain(&mut self, _: Instant, _: &Context<ExitMessage>) -> BoxFuture<'static, ()> {
        let (places, all) = (Arc::clone(&self.places), self.config.max_requests);
        async move {
            // All places free: nothing is at work. The semaphore is never closed.
            let _ = places.acquire_many(u32::try_from(all).unwrap_or(u32::MAX)).await;
        }
        .boxed()
    }
}

impl Exit {
    fn request(
        &mut self,
        destination: &AddressBytes,
        packet: Packet,
        served: Served,
        request: TakenRequest,
        context: &Context<ExitMessage>,
    ) {
        // Before anything is answered: an answer costs as much as a service.
        let Ok(permit) = Arc::clone(&self.places).try_acquire_owned() else {
            self.shared.metrics.record_request(RequestOutcome::Overloaded);
            packet.reject(DropReason::QueueFull);
            return;
        };
        let TakenRequest { codec, surbs, data } = request;
        let errand = match self.errand(destination, codec, data) {
            Ok(errand) => {
                packet.settle(Outcome::Delivered);
                errand
            }
            Err((reason, outcome)) => {
                packet.reject(reason);
                Errand::Refuse(outcome)
            }
        };
        let (shared, rng) = (Arc::clone(&self.shared), self.rng.fork());
        shared.tally.take();
        // There are as many tasks as places, so this cannot fail.
        let _ = context.spawn(Exchange { shared, errand, served, surbs, rng, permit }.run());
    }

    fn errand(
        &self,
        destination: &AddressBytes,
        codec: String,
        data: Vec<u8>,
    ) -> Result<Errand, (DropReason, RequestOutcome)> {
        let directory = self.directory.snapshot();
        let ip = self.node.hop_address.borrow().as_ref().map(HopAddress::ip);
        let me = Me { peer: self.node.peer, ip };
        match target(&self.config, me, &self.services, &directory, &codec, destination) {
            Ok(Target::Local(service)) => match unframe(&data, service.max_request) {
                Some(body) => Ok(Errand::Local { service, body }),
                None => Err((DropReason::BadMessage, RequestOutcome::Malformed)),
            },
            Ok(Target::Remote { peer, addresses }) => Ok(Errand::Remote { peer, addresses, codec, bytes: data }),
            Err(refusal) => Err((refusal.drop_reason(), RequestOutcome::Refused(refusal))),
        }
    }
}
