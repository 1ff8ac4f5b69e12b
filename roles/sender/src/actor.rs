//! The shell: takes messages, has the rules decide, starts the tasks that carry it out.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures::{FutureExt, future::BoxFuture};
use libp2p_identity::PeerId;
use rand::{SeedableRng, rngs::StdRng};
use tokio::time::Instant;
use wakumix_mix::{DropReason, Ledger, LoopPlace, Origin, Packet, Stage};
use wakumix_role_api::{
    Actor, Context, DirectoryReader, LocalNode,
    sender::{Loop, Push, PushFailure, ReplyPacket, SenderMessage},
};
use wakumix_sphinx::PacketBuf;

use crate::{
    admission::{Refused, Slot},
    config::Config,
    exchange::{Caller, Exchange, Plan, Shared, open_reply},
    probe::{LoopPlan, Probe, tell},
    request::{Request, check_size, prepare},
    route::{Wanted, choose, choose_loop},
    way_back::WayBack,
};

/// How often credentials are swept that outlived their request.
const SWEEP_PERIOD: Duration = Duration::from_secs(1);

/// The sender. Its requests are ephemeral: after a panic their callers are told that they ended.
pub(crate) struct Sender {
    pub(crate) config: Arc<Config>,
    pub(crate) node: LocalNode,
    pub(crate) directory: DirectoryReader,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) rng: StdRng,
}

impl Actor for Sender {
    type Message = SenderMessage;
    const NAME: &'static str = "sender";

    fn started(&mut self, context: &Context<SenderMessage>) {
        // The first task of an actor always fits its limit.
        let _ = context.every(SWEEP_PERIOD, || SenderMessage::Expire);
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
        let Push { message, pubsub_topic, exit, timeout, anonymity: _, reply } = push;
        let caller = Caller::new(reply, Arc::clone(&self.shared));
        let limit = self.limit(timeout);
        let slot = match self.admit() {
            Ok(slot) => slot,
            Err(failure) => return caller.tell(Err(failure)),
        };
        let decided = prepare(&mut self.rng, unix_nanoseconds(), message, pubsub_topic, self.config.auto_shards)
            .and_then(|request| Ok((self.plan(&request, exit)?, request)));
        let (plan, request) = match decided {
            Ok(decided) => decided,
            Err(failure) => return caller.tell(Err(failure)),
        };
        let Some(buffer) = self.buffer() else { return caller.tell(Err(PushFailure::Busy)) };
        let packet = Packet::originated(buffer, &self.ledger, Origin::Request);
        let (shared, deadline) = (Arc::clone(&self.shared), Instant::now() + limit);
        let exchange = Exchange { shared, caller, slot, request, plan, packet, deadline, limit };
        // There are as many tasks as slots and reply blocks, so this cannot fail; if it did, the caller would be told.
        let _ = context.spawn(exchange.run());
    }

    fn probe(&mut self, asked: Loop, context: &Context<SenderMessage>) {
        let Loop { through, place, timeout, reply } = asked;
        let limit = self.limit(timeout);
        let admitted = self.admit().and_then(|slot| {
            let plan = self.loop_plan(through, place)?;
            let buffer = self.buffer().ok_or(PushFailure::Busy)?;
            Ok((slot, plan, Packet::originated(buffer, &self.ledger, Origin::Loop)))
        });
        let (slot, plan, packet) = match admitted {
            Ok(admitted) => admitted,
            Err(failure) => return tell(&self.shared, reply, Err(failure)),
        };
        let (shared, deadline) = (Arc::clone(&self.shared), Instant::now() + limit);
        // A loop has a slot like a request and fewer tasks.
        let _ = context.spawn(Probe { shared, slot, plan, packet, deadline, limit, reply }.run());
    }

    fn admit(&self) -> Result<Slot, PushFailure> {
        self.shared.admission.request().map_err(|refused| match refused {
            Refused::Full => PushFailure::Busy,
            Refused::Closed => PushFailure::Stopped,
        })
    }

    fn buffer(&self) -> Option<PacketBuf> {
        self.shared.formats.preferred()?.buffers.take()
    }

    fn limit(&self, asked: Option<Duration>) -> Duration {
        asked.unwrap_or(self.config.timeout).min(self.config.max_timeout)
    }

    fn plan(&mut self, request: &Request, exit: Option<PeerId>) -> Result<Plan, PushFailure> {
        let Config { surbs, delay, hold, .. } = *self.config;
        let format = self.shared.formats.preferred().ok_or(PushFailure::Internal("no packet format"))?;
        check_size(&request.frame, &*format.format, surbs)?;
        let directory = self.directory.snapshot();
        let way_back = WayBack::to(&self.node, &directory)?;
        let wanted = Wanted { exit, topic: request.topic.as_ref() };
        let route = choose(&mut self.rng, &directory, &way_back, wanted, surbs)?;
        let hold = hold.sample(&mut self.rng, hold.encode());
        Ok(Plan { route, delay_ms: delay.encode(), hold, rng: self.rng.fork() })
    }

    fn loop_plan(&mut self, through: PeerId, place: LoopPlace) -> Result<LoopPlan, PushFailure> {
        let Config { delay, hold, .. } = *self.config;
        let directory = self.directory.snapshot();
        let way_back = WayBack::to(&self.node, &directory)?;
        let path = choose_loop(&mut self.rng, &directory, &way_back, through, place)?;
        let hold = hold.sample(&mut self.rng, hold.encode());
        Ok(LoopPlan { path, delay_ms: delay.encode(), hold, rng: self.rng.fork() })
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

/// The time for messages that bring none.
fn unix_nanoseconds() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX)
}
