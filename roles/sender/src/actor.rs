//! The shell: feeds the mix client, and carries out what it decides.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use rand::{SeedableRng, rngs::StdRng};
use tokio::{
    sync::{oneshot, watch},
    time::Instant,
};
use wakumix_client::{
    Client, ClientError, Dispatch, Exchanged, Input, LoopOutcome, Moment, NotDispatched, Observation, Output,
    RequestId,
    lightpush::{self, Certainty, DirectPush, Prepared, PushReader, PushRules, held_bytes},
};
use wakumix_mix::Reliability;
use wakumix_role_api::{
    Actor, Context, OnPanic,
    relay::RelayHandle,
    sender::{Anonymity, Answer, DeliveryPath, Loop, PushFailure, PushMessage, ReplyOpener, SenderMessage},
};

use crate::{
    caller::{Caller, attend, attend_loop},
    dispatch::dispatch,
    shell::Shell,
    surroundings::{Surroundings, follow_directory},
    timer::keep_time,
    watch::{Watch, follow},
};

/// The sender. Its requests are ephemeral: after a panic their callers hear that they ended.
pub(crate) struct Sender {
    pub(crate) client: Client,
    pub(crate) shell: Arc<Shell>,
    pub(crate) surroundings: Surroundings,
    pub(crate) relay: Option<RelayHandle>,
    /// Where the mixer's workers find what opens replies.
    pub(crate) replies: ReplyOpener,
    pub(crate) reliability: Arc<Mutex<Reliability>>,
    pub(crate) rules: PushRules,
    /// Whether a message may go without the mixnet.
    pub(crate) allow_direct: bool,
    pub(crate) rng: StdRng,
    /// Requests and loops whose callers wait.
    pub(crate) open: BTreeMap<RequestId, Open>,
    pub(crate) next_id: u64,
    /// When the client is to be woken.
    pub(crate) wake: watch::Sender<Option<Instant>>,
}

/// What is kept of a request or loop until it ends.
pub(crate) enum Open {
    Push(Box<OpenPush>),
    Loop(oneshot::Sender<Result<LoopOutcome, ClientError>>),
}

pub(crate) struct OpenPush {
    reader: PushReader,
    /// The message, if it may go directly.
    direct: Option<DirectPush>,
    outcome: oneshot::Sender<Result<Answer, PushFailure>>,
    /// While the request is open its message is watched for on relay.
    _watch: Option<Watch>,
}

impl Actor for Sender {
    type Message = SenderMessage;
    const NAME: &'static str = "sender";

    fn started(&mut self, context: &Context<SenderMessage>) {
        self.show();
        self.replies.serve(self.client.surbs());
        // An actor's first tasks always fit its limit.
        let (wake, address) = (self.wake.clone(), context.address().clone());
        let _ = context.keep("sender_timer", move || keep_time(wake.subscribe(), address.clone()));
        let (directory, address) = (self.shell.directory.clone(), context.address().clone());
        let _ = context.keep("sender_directory", move || follow_directory(directory.clone(), address.clone()));
        if let Some(relay) = self.relay.clone() {
            let (list, address) = (Arc::clone(&self.shell.watchlist), context.address().clone());
            let _ = context.keep("sender_relay", move || follow(relay.clone(), Arc::clone(&list), address.clone()));
        }
    }

    fn handle(&mut self, message: SenderMessage, context: &Context<SenderMessage>) {
        for news in self.surroundings.news(&self.shell) {
            self.feed(news, context);
        }
        match message {
            SenderMessage::Push(push) => self.push(*push, context),
            SenderMessage::Loop(request) => self.send_loop(request, context),
            SenderMessage::Client(input) => self.feed(*input, context),
        }
    }

    /// Ends what still waits. No reply can arrive any more: the queue is closed.
    fn drain(&mut self, _: Instant, context: &Context<SenderMessage>) -> BoxFuture<'static, ()> {
        self.shell.work.close();
        self.feed(Input::End, context);
        let shell = Arc::clone(&self.shell);
        async move { shell.work.idle().await }.boxed()
    }
}

impl Sender {
    fn push(&mut self, push: PushMessage, context: &Context<SenderMessage>) {
        let PushMessage { message, pubsub_topic, exit, timeout, anonymity, reply } = push;
        let caller = Caller::new(reply, &self.shell);
        if anonymity != Anonymity::Required && !self.allow_direct {
            return caller.answer(Err(PushFailure::DirectNotAllowed));
        }
        let prepared = self.has_room(held_bytes(&message, pubsub_topic.as_deref())).and_then(|()| {
            let push = lightpush::Push { message, pubsub_topic, exit, timeout, anonymity };
            push.prepare(&mut self.rng, unix_nanoseconds(), self.rules)
        });
        let Prepared { request, reader, direct } = match prepared {
            Ok(prepared) => prepared,
            Err(failure) => return caller.answer(Err(failure)),
        };
        let id = self.next_id();
        let (sink, outcome) = oneshot::channel();
        // There are as many tasks as open requests, so this cannot fail; if it did, the caller would hear.
        let attend = attend(caller, outcome, id, context.address().clone());
        let _ = context.spawn("sender_caller", OnPanic::Report, attend);
        let hash = reader.message_hash().filter(|_| self.relay.is_some());
        let watch = hash.map(|hash| self.shell.watchlist.watch(hash, id));
        let open = OpenPush { reader, direct, outcome: sink, _watch: watch };
        self.open.insert(id, Open::Push(Box::new(open)));
        self.feed(Input::Request(id, Box::new(request)), context);
    }

    fn send_loop(&mut self, request: Loop, context: &Context<SenderMessage>) {
        let Loop { request, reply } = request;
        let id = self.next_id();
        let (sink, outcome) = oneshot::channel();
        let (shell, address) = (Arc::clone(&self.shell), context.address().clone());
        // A loop has a place like a request.
        let attend = attend_loop(shell, reply, outcome, id, address);
        let _ = context.spawn("sender_caller", OnPanic::Report, attend);
        self.open.insert(id, Open::Loop(sink));
        if self.shell.work.is_closed() {
            return self.loop_ended(id, Err(ClientError::Stopped));
        }
        self.feed(Input::Loop(id, request), context);
    }

    fn has_room(&self, bytes: usize) -> Result<(), PushFailure> {
        if self.shell.work.is_closed() {
            return Err(ClientError::Stopped.into());
        }
        Ok(self.client.has_room(bytes)?)
    }

    /// Gives the client an input, and carries out what follows.
    fn feed(&mut self, input: Input, context: &Context<SenderMessage>) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            if let Input::Forget(id) = input {
                self.open.remove(&id);
            }
            let mut outputs = Vec::new();
            let now = self.shell.now();
            let mut reliability = self.reliability.lock();
            let moment = Moment { now, rng: &mut self.rng, reliability: &mut reliability };
            self.client.handle(moment, input, &mut outputs);
            drop(reliability);
            self.show();
            for output in outputs {
                inputs.extend(self.carry_out(output, context));
            }
        }
        let wake = self.client.next_wake().map(|wake| self.shell.epoch + wake);
        self.wake.send_replace(wake);
    }

    /// Carries out a decision; what the client is to hear of it at once.
    fn carry_out(&mut self, output: Output, context: &Context<SenderMessage>) -> Option<Input> {
        match output {
            Output::Dispatch(dispatch) => return self.dispatch(dispatch, context),
            Output::AskDirectly { id, reason, limit } => self.ask_directly(id, reason, limit, context),
            Output::Ended(id, outcome) => self.ended(id, outcome),
            Output::LoopEnded(id, outcome) => self.loop_ended(id, outcome),
            Output::Observed(observation) => self.observe(observation),
        }
        None
    }

    fn dispatch(&mut self, packets: Box<Dispatch>, context: &Context<SenderMessage>) -> Option<Input> {
        let (shell, surbs, id) = (Arc::clone(&self.shell), self.client.surbs(), packets.id);
        let task = dispatch(shell, surbs, packets, self.rng.fork(), context.address().clone());
        let spawned = context.spawn("sender_dispatch", OnPanic::Report, task);
        spawned.err().map(|_| Input::NotDispatched(id, NotDispatched::Congested))
    }

    fn ask_directly(
        &mut self,
        id: RequestId,
        reason: Option<ClientError>,
        limit: Duration,
        context: &Context<SenderMessage>,
    ) {
        self.shell.metrics.record_direct(reason.is_some());
        let Some(Open::Push(open)) = self.open.remove(&id) else { return };
        let OpenPush { direct: Some(direct), outcome, .. } = *open else { return };
        let (shell, address) = (Arc::clone(&self.shell), context.address().clone());
        let ask = async move {
            let answer = shell.plain.push(direct, limit).await;
            let path = DeliveryPath::Direct(reason.map(|reason| Box::new(PushFailure::from(reason))));
            // First its place: a caller that has its outcome finds room for the next request.
            let forget = SenderMessage::Client(Box::new(Input::Forget(id)));
            let _ = address.send(forget).await;
            // A caller that has gone needs no outcome.
            let _ = outcome.send(answer.map(|answer| Answer { path, ..answer }));
        };
        // Its caller's task is one of those that fit the limit; so is this. The client waits for its end without a limit.
        let _ = context.spawn("sender_direct", OnPanic::FailOwner, ask);
    }

    fn ended(&mut self, id: RequestId, ended: Result<Exchanged, ClientError>) {
        let Some(Open::Push(open)) = self.open.remove(&id) else { return };
        let OpenPush { reader, outcome, .. } = *open;
        let answer = reader.outcome(ended);
        if let Ok(Answer { certainty: Certainty::Confirmed, round_trip, .. }) = &answer {
            self.shell.metrics.record_round_trip(*round_trip);
        }
        // A caller that has gone needs no outcome.
        let _ = outcome.send(answer);
    }

    fn loop_ended(&mut self, id: RequestId, ended: Result<LoopOutcome, ClientError>) {
        let Some(Open::Loop(outcome)) = self.open.remove(&id) else { return };
        // Likewise.
        let _ = outcome.send(ended);
    }

    fn observe(&self, observation: Observation) {
        let metrics = &self.shell.metrics;
        match observation {
            Observation::TryAnswered { is_done } => metrics.record_answer(is_done),
            Observation::TryTimedOut => metrics.record_timeout(),
            Observation::TryNotLeft => metrics.record_not_left(),
            Observation::Exposed(exposure) => metrics.record_exposure(exposure),
            Observation::DeadlinePassed { reply_blocks } => metrics.record_deadline(reply_blocks),
        }
    }

    /// Shows the client's state in the metrics, before any caller hears what has changed.
    fn show(&self) {
        let metrics = &self.shell.metrics;
        metrics.pending.set(count(self.client.open_requests()));
        metrics.window.set(count(self.client.window()));
        metrics.show_credentials(self.client.surbs().len());
        metrics.loss.set(self.client.loss());
        self.shell.silence.note(self.client.silence());
    }

    fn next_id(&mut self) -> RequestId {
        self.next_id += 1;
        RequestId(self.next_id)
    }
}

/// The time for messages that bring none.
fn unix_nanoseconds() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX)
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
