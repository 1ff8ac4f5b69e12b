//! The shell: takes packets, has the rules decide, starts the tasks that carry it out.

use std::sync::Arc;

use futures::{FutureExt, future::BoxFuture};
use libp2p_identity::PeerId;
use rand::{SeedableRng, rngs::StdRng};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use wakumix_mix::{
    DropReason, ExitStatus, Outcome, Packet, Stage,
    exit::{ExitPolicy, ExitRequest, FragmentOutcome, HERE, Incoming, read},
    fragment::MAX_REASSEMBLED_LEN,
};
use wakumix_role_api::{
    Actor, Context, DirectoryReader, Formats, OnPanic, Served, Services,
    exit::{ExitMessage, ExitPacket},
};
use wakumix_sphinx::{AddressBytes, Surb, Weaknesses};
use wakumix_waku::{frame, lightpush::refusal::RefusalForm};

use crate::{
    config::Config,
    exchange::{Answering, Exchange, ServiceCall, Shared},
    fragments::Fragments,
    metrics::{ReplyOutcome, RequestOutcome},
    policy::{Policy, Target},
    refusal::refusal,
};

/// Refusals that may be answered at a time. A refusal costs as much cryptography as an answer and is done in a millisecond;
/// beyond this the sender is left to its time limit, so that refused requests cannot crowd out served ones.
pub(crate) const MAX_REFUSALS: usize = 32;

/// The exit. Its requests and sets are ephemeral: after a panic their senders hear nothing.
pub(crate) struct Exit {
    pub(crate) config: Arc<Config>,
    pub(crate) policy: ExitPolicy,
    pub(crate) me: PeerId,
    pub(crate) formats: Formats,
    pub(crate) services: Services,
    pub(crate) directory: DirectoryReader,
    pub(crate) shared: Arc<Shared>,
    /// `None` if this exit does not reassemble.
    pub(crate) fragments: Option<Fragments>,
    /// One permit for each request that may be at work.
    pub(crate) places: Arc<Semaphore>,
    /// One permit for each refusal that may be answered.
    pub(crate) refusals: Arc<Semaphore>,
    pub(crate) weaknesses: Weaknesses,
    pub(crate) rng: StdRng,
}

impl Actor for Exit {
    type Message = ExitMessage;
    const NAME: &'static str = "exit";

    fn started(&mut self, context: &Context<ExitMessage>) {
        if let Some(fragments) = self.fragments.clone() {
            // There is a task for it beside those of requests and refusals.
            let _ = context.keep("exit_fragments", move || fragments.clone().expire());
        }
    }

    fn handle(&mut self, message: ExitMessage, context: &Context<ExitMessage>) {
        let ExitMessage::Packet(ExitPacket { destination, mut packet, body }) = message;
        packet.enter(Stage::Exit);
        let Some(served) = self.formats.of(&packet).cloned() else { return packet.reject(DropReason::Size) };
        match read(&*served.format, packet.bytes(), body) {
            Ok(Incoming::Cover) => packet.finish(Outcome::Cover),
            Ok(Incoming::Request(request)) => match self.fragments.clone() {
                Some(fragments) if request.is_fragment(&destination) => {
                    self.fragment(&fragments, packet, served, request, context);
                }
                _ => self.request(&destination, packet, served, request, context),
            },
            Err(reason) => packet.reject(reason),
        }
    }

    /// Waits for what is at work; each request has a time limit. Incomplete sets are given up.
    fn drain(&mut self, _: Instant, _: &Context<ExitMessage>) -> BoxFuture<'static, ()> {
        let all = [(Arc::clone(&self.places), self.config.max_requests), (Arc::clone(&self.refusals), MAX_REFUSALS)];
        async move {
            for (places, all) in all {
                // All places free: nothing is at work. The semaphores are never closed.
                let _ = places.acquire_many(u32::try_from(all).unwrap_or(u32::MAX)).await;
            }
        }
        .boxed()
    }
}

impl Exit {
    /// Takes a fragment. Its bytes are copied out of the packet, so a set that waits holds no buffer.
    fn fragment(
        &mut self,
        fragments: &Fragments,
        packet: Packet,
        served: Served,
        request: ExitRequest,
        context: &Context<ExitMessage>,
    ) {
        match fragments.insert(served.format.wire().kind(), request) {
            FragmentOutcome::Kept | FragmentOutcome::Duplicate | FragmentOutcome::Late => {
                packet.finish(Outcome::Delivered);
            }
            FragmentOutcome::Complete(request) => self.request(&HERE, packet, served, request, context),
            FragmentOutcome::Refused { refusal, surbs } => {
                packet.reject(refusal.drop_reason());
                self.refuse(served, surbs, &RefusalForm::v3_without_request(), refusal.status(), context);
            }
        }
    }

    fn request(
        &mut self,
        destination: &AddressBytes,
        packet: Packet,
        served: Served,
        request: ExitRequest,
        context: &Context<ExitMessage>,
    ) {
        let ExitRequest { codec, surbs, data } = request;
        let form = RefusalForm::of(&codec, &data, MAX_REASSEMBLED_LEN);
        match self.call(destination, codec, data) {
            Ok((call, permit)) => {
                packet.finish(Outcome::Delivered);
                let answering = self.answering(served, surbs, permit);
                // There are as many tasks as places, so this cannot fail.
                let exchange = Exchange { call, form, answering };
                let _ = context.spawn("exit_request", OnPanic::Report, exchange.run());
            }
            Err(status) => {
                packet.reject(status.drop_reason());
                self.shared.metrics.record_request(RequestOutcome::Failed(status));
                self.refuse(served, surbs, &form, status, context);
            }
        }
    }

    /// What is to be done for a request, and its place among those at work.
    fn call(
        &self,
        destination: &AddressBytes,
        codec: String,
        data: Vec<u8>,
    ) -> Result<(ServiceCall, OwnedSemaphorePermit), ExitStatus> {
        let call = match self.target(&codec, destination)? {
            Target::Local(service) => {
                let body = frame::first_body(&data, service.max_request).ok_or(ExitStatus::Malformed)?;
                ServiceCall::Local { service, body: body.to_vec() }
            }
            Target::Remote { peer, addresses, is_stranger } => {
                ServiceCall::Remote { peer, addresses, is_stranger, codec, bytes: data }
            }
        };
        let permit = Arc::clone(&self.places).try_acquire_owned().map_err(|_| ExitStatus::Overloaded)?;
        Ok((call, permit))
    }

    fn target(&self, codec: &str, destination: &AddressBytes) -> Result<Target, ExitStatus> {
        let policy = Policy {
            rules: &self.policy,
            me: self.me,
            services: &self.services,
            directory: &self.directory.snapshot(),
            weaknesses: self.weaknesses,
        };
        policy.target(codec, destination)
    }

    /// Tells the sender why nothing is done, if it left a way and not too many are being told already.
    fn refuse(
        &mut self,
        served: Served,
        surbs: Vec<Surb>,
        form: &RefusalForm,
        status: ExitStatus,
        context: &Context<ExitMessage>,
    ) {
        if surbs.is_empty() {
            return;
        }
        let Ok(permit) = Arc::clone(&self.refusals).try_acquire_owned() else {
            return self.shared.metrics.record_replies(ReplyOutcome::Withheld, surbs.len());
        };
        let reply = refusal(form, status);
        // Likewise: as many tasks as places.
        let refusal = self.answering(served, surbs, permit).send(reply);
        let _ = context.spawn("exit_refusal", OnPanic::Report, refusal);
    }

    fn answering(&mut self, served: Served, surbs: Vec<Surb>, permit: OwnedSemaphorePermit) -> Answering {
        self.shared.tally.take();
        Answering { shared: Arc::clone(&self.shared), served, surbs, rng: self.rng.fork(), permit }
    }
}
