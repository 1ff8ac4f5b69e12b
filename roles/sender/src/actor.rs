//! The shell: takes messages, has the rules decide, starts the tasks that carry it out.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures::{FutureExt, future::BoxFuture};
use libp2p_identity::PeerId;
use rand::{SeedableRng, rngs::StdRng};
use tokio::time::Instant;
use wakumix_mix::{DropReason, LoopPlace, Origin, Packet, Stage};
use wakumix_role_api::{
    Actor, Context,
    relay::RelayHandle,
    sender::{Anonymity, Loop, Push, PushFailure, ReplyPacket, SenderMessage},
};
use wakumix_waku::WakuMessage;

use crate::{
    admission::{Refused, Slot},
    caller::Caller,
    exchange::Exchange,
    probe::{LoopPlan, Probe, tell},
    reply::open_reply,
    request::prepare,
    route::choose_loop,
    shared::Shared,
    watch::follow,
    way_back::WayBack,
};

/// How often credentials are swept that outlived their request.
const SWEEP_PERIOD: Duration = Duration::from_secs(1);

/// The sender. Its requests are ephemeral: after a panic their callers are told that they ended.
pub(crate) struct Sender {
    pub(crate) shared: Arc<Shared>,
    pub(crate) relay: Option<RelayHandle>,
    pub(crate) rng: StdRng,
}

impl Actor for Sender {
    type Message = SenderMessage;
    const NAME: &'static str = "sender";

    fn started(&mut self, context: &Context<SenderMessage>) {
        // The first task of an actor always fits its limit.
        let _ = context.every(SWEEP_PERIOD, || SenderMessage::Expire);
        if let Some(relay) = self.relay.clone() {
            // So does the second.
            let _ = context.spawn(follow(relay, Arc::clone(&self.shared.watchlist)));
        }
    }

    fn handle(&mut self, message: SenderMessage, context: &Context<SenderMessage>) {
        match message {
            SenderMessage::Push(push) => self.push(*push, context),
            SenderMessage::Loop(probe) => self.probe(probe, context),
            SenderMessage::Reply(reply) => self.reply(reply, context),
            SenderMessage::Expire => self.shared.book.expire(),
        }
    }

    /// Ends what still waits. No reply can arrive any more: the queue is closed.
    fn drain(&mut self, _: Instant, _: &Context<SenderMessage>) -> BoxFuture<'static, ()> {
        let admission = Arc::clone(&self.shared.admission);
        admission.close();
        admission.end();
        async move { admission.idle().await }.boxed()
    }
}

impl Sender {
    fn push(&mut self, push: Push, context: &Context<SenderMessage>) {
        let Push { message, pubsub_topic, exit, timeout, anonymity, reply } = push;
        let caller = Caller::new(reply, &self.shared.admission, &self.shared.metrics);
        let limit = self.limit(timeout);
        let slot = match self.admit(message_len(&message, pubsub_topic.as_deref())) {
            Ok(slot) => slot,
            Err(failure) => return caller.tell(Err(failure)),
        };
        let auto_shards = self.shared.config.auto_shards;
        let may_go_directly = anonymity != Anonymity::Required;
        let request = prepare(&mut self.rng, unix_nanoseconds(), message, pubsub_topic, auto_shards, may_go_directly);
        let request = match request {
            Ok(request) => request,
            Err(failure) => return caller.tell(Err(failure)),
        };
        let (shared, rng) = (Arc::clone(&self.shared), self.rng.fork());
        let exchange = Exchange::new(shared, request, anonymity, exit, limit, rng);
        // There are as many tasks as slots and reply blocks, so this cannot fail; if it did, the caller would be told.
        let _ = context.spawn(exchange.run(caller, slot));
    }

    fn probe(&mut self, asked: Loop, context: &Context<SenderMessage>) {
        let Loop { through, place, timeout, reply } = asked;
        let limit = self.limit(timeout);
        let admitted = self.admit(0).and_then(|slot| {
            let (plan, packet) = self.loop_plan(through, place)?;
            Ok((slot, plan, packet))
        });
        let (slot, plan, packet) = match admitted {
            Ok(admitted) => admitted,
            Err(failure) => return tell(&self.shared, reply, Err(failure)),
        };
        let (shared, deadline) = (Arc::clone(&self.shared), Instant::now() + limit);
        // A loop has a slot like a request and fewer tasks.
        let _ = context.spawn(Probe { shared, slot, plan, packet, deadline, reply }.run());
    }

    fn admit(&self, bytes: usize) -> Result<Slot, PushFailure> {
        self.shared.admission.request(bytes).map_err(|refused| match refused {
            Refused::Full => PushFailure::Busy,
            Refused::Closed => PushFailure::Stopped,
        })
    }

    fn limit(&self, asked: Option<Duration>) -> Duration {
        asked.unwrap_or(self.shared.config.timeout).min(self.shared.config.max_timeout)
    }

    /// The way of a loop in the format of this node's choice, and an empty buffer for its packet.
    fn loop_plan(&mut self, through: PeerId, place: LoopPlace) -> Result<(LoopPlan, Packet), PushFailure> {
        let shared = &self.shared;
        let served = shared.formats.preferred().ok_or(PushFailure::Internal("no packet format"))?;
        let directory = shared.directory.snapshot();
        let way_back = WayBack::to(&shared.node, &directory)?;
        let kind = served.format.wire().kind();
        let path = choose_loop(&mut self.rng, &directory, &way_back, kind, through, place)?;
        let buffer = served.buffers.take().ok_or(PushFailure::Busy)?;
        let (delay, hold) = (shared.config.delay, shared.config.hold);
        let hold = hold.sample(&mut self.rng, hold.encode());
        let plan = LoopPlan { path, delay_ms: delay.encode(), hold, rng: self.rng.fork() };
        Ok((plan, Packet::originated(buffer, &shared.ledger, Origin::Loop)))
    }

    fn reply(&self, mut reply: ReplyPacket, context: &Context<SenderMessage>) {
        reply.packet.enter(Stage::Reply);
        let Some(keys) = self.shared.book.keys(&reply.id) else {
            reply.packet.reject(DropReason::UnknownReply);
            return;
        };
        let slot = self.shared.admission.reply();
        // A reply block yields one reply, since the mixer knows its tag: the tasks have room for all of them.
        let _ = context.spawn(open_reply(Arc::clone(&self.shared), reply, keys, slot));
    }
}

/// Bytes of a message that wait with its request.
fn message_len(message: &WakuMessage, topic: Option<&str>) -> usize {
    let topic = topic.map_or(0, str::len);
    message.payload.len() + message.meta.len() + message.content_topic.len() + topic
}

/// The time for messages that bring none.
fn unix_nanoseconds() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX)
}
