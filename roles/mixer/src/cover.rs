//! Sends loop cover: at Poisson times a packet to this node itself through two others (`spec/mix-wire.md §16`).
//!
//! For every hop a loop is what a request is: it has the same length, is drawn from the same pool by the same rules, asks for
//! the same delays and waits in the same queues. A node with guards sends its requests over them alone, and so its loops: two at
//! a time through two guards, one this way and one that, so that for each of the two a packet leaves and one comes back, as
//! with a request and its answer. Its path and body are chosen here, it is built on a worker, and the
//! pipeline recognises it when it comes back.

use std::collections::BTreeSet;

use futures::stream::{FuturesUnordered, StreamExt as _};
use libp2p_identity::PeerId;
use rand::{SeedableRng as _, rngs::StdRng};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep_until};
use wakumix_mix::{
    Beside, DropReason, HopAddress, LastHop, Ledger, LoopPlace, MixNode, MixPool, Origin, Packet, Preference,
    cover::{CoverBody, LoopId, gap},
    encode_cover, loop_path, random, reply_path,
};
use wakumix_role_api::{
    Directory, DirectoryReader, Formats, LocalNode, RoleContext, Served, Workers,
    host::{OutboundPacket, Reach, Reachability, SendFailure},
};
use wakumix_sphinx::{ADDRESS_LEN, PATH_LEN, PacketFormat, PathHop};

use std::sync::Arc;
use std::time::Duration;

use crate::delay_queue::{stop_deadline, until};
use crate::effects::Effects;
use crate::loops::Loops;
use crate::outbound::give_up;

/// What the task is made of.
pub(crate) struct Cover {
    mean: Duration,
    /// What each hop is asked for, in milliseconds.
    delay_ms: u16,
    rng: StdRng,
    node: LocalNode,
    formats: Formats,
    ledger: Arc<Ledger>,
    directory: DirectoryReader,
    workers: Workers,
    effects: Effects,
    /// By when to stop, once it is known.
    stop: watch::Receiver<Option<Instant>>,
    /// Loops so far: served formats take turns.
    turn: usize,
    /// Whether the last loop could not be made, so that the log says it once.
    is_idle: bool,
}

/// A loop that is decided and not built yet.
struct Plan {
    format: Arc<dyn PacketFormat>,
    path: [MixNode; PATH_LEN],
    packet: Packet,
}

/// Why there is no loop now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum NoLoop {
    #[error("too few mix nodes are known")]
    Path,
    #[error("fewer than two guards are connected")]
    Guards,
    #[error("all packet buffers are in use")]
    Buffer,
}

impl Cover {
    /// Sends loops with this mean time between them, each hop asked for a delay of `delay_ms`.
    pub(crate) fn new(
        mean: Duration,
        delay_ms: u16,
        rng: StdRng,
        context: &RoleContext,
        effects: Effects,
        stop: watch::Receiver<Option<Instant>>,
    ) -> Self {
        Self {
            mean,
            delay_ms,
            rng,
            node: context.node.clone(),
            formats: context.formats.clone(),
            ledger: Arc::clone(&context.ledger),
            directory: context.directory.clone(),
            workers: context.workers.clone(),
            effects,
            stop,
            turn: 0,
            is_idle: false,
        }
    }

    /// The same task once more: for its start with the generator that it was given, after a panic with another.
    pub(crate) fn again(&mut self) -> Self {
        Self {
            mean: self.mean,
            delay_ms: self.delay_ms,
            rng: std::mem::replace(&mut self.rng, rand::make_rng()),
            node: self.node.clone(),
            formats: self.formats.clone(),
            ledger: Arc::clone(&self.ledger),
            directory: self.directory.clone(),
            workers: self.workers.clone(),
            effects: self.effects.clone(),
            stop: self.stop.clone(),
            turn: self.turn,
            is_idle: false,
        }
    }

    /// Runs until it is stopped. Loops that are on their way then are forgotten.
    pub(crate) async fn run(mut self) {
        let mut stop = self.stop.clone();
        let mut dispatches = FuturesUnordered::new();
        let stopped = stop_deadline(&mut stop);
        tokio::pin!(stopped);
        let mut next = Instant::now() + gap(&mut self.rng, self.mean);
        loop {
            tokio::select! {
                biased;
                _ = &mut stopped => return,
                Some((id, first, result)) = dispatches.next() => self.loops().left(&id, &first, result),
                () = until(self.loops().next_expiry()) => self.loops().expire(),
                () = sleep_until(next) => {
                    // Memoryless: counting from now instead of from when it was due changes nothing, and a machine that
                    // was suspended has nothing to catch up with.
                    next = Instant::now() + gap(&mut self.rng, self.mean);
                    for plan in self.plans() {
                        dispatches.extend(self.send(plan).await.map(Dispatch::heard));
                    }
                }
            }
        }
    }

    fn loops(&self) -> &Loops {
        &self.effects.loops
    }

    /// The loops to make now.
    fn plans(&mut self) -> Vec<Plan> {
        match self.plan() {
            Ok(plans) => {
                self.is_idle = false;
                plans
            }
            Err(reason) => {
                self.skip(reason);
                Vec::new()
            }
        }
    }

    /// Makes a loop and hands it to the host.
    async fn send(&mut self, plan: Plan) -> Option<Dispatch> {
        let hops = plan.path[..PATH_LEN - 1].iter().map(MixNode::peer).collect();
        let (to, delay_ms) = (plan.path[0].address.clone(), self.delay_ms);
        let mut rng = StdRng::from_rng(&mut self.rng);
        // A job that panics loses its packet, which the ledger counts; the next loop finds the task as it was.
        let (packet, id) = self.workers.run(move || build(&mut rng, plan, delay_ms)).await.ok()??;
        let (done, result) = oneshot::channel();
        let first = to.peer();
        let outbound = OutboundPacket { to, reach: Reach::Dial, packet, done: Some(done) };
        if self.loops().enter(id, hops).is_err() {
            self.loops().metrics.skipped.increment(1);
            give_up(outbound, wakumix_mix::Stage::Egress, DropReason::QueueFull, SendFailure::QueueFull);
            return None;
        }
        self.effects.send_after(Duration::ZERO, outbound);
        Some(Dispatch { id, first, result })
    }

    /// Draws the paths of the next loops and takes buffers for them.
    fn plan(&mut self) -> Result<Vec<Plan>, NoLoop> {
        self.turn = self.turn.wrapping_add(1);
        let served = self.formats.all();
        let Served { format, buffers } = served.get(self.turn % served.len().max(1)).ok_or(NoLoop::Path)?;
        let directory = self.directory.snapshot();
        let kind = format.wire().kind();
        let pool = MixPool::new(directory.mix_nodes.iter().filter(|node| node.formats.contains(kind)).cloned());
        let me = me(&self.node, &directory).ok_or(NoLoop::Path)?;
        let paths = match &directory.guards {
            Some(sample) => there_and_back(&mut self.rng, &pool, &me, sample, &directory.connected)?.to_vec(),
            None => {
                let last = last_hops(&self.node, &directory).map_or(LastHop::Any, LastHop::Among);
                let path = reply_path(&mut self.rng, &pool, &me, Beside::NOTHING, last, Preference::NONE);
                vec![path.map_err(|_| NoLoop::Path)?]
            }
        };
        let plan = |path| {
            let buffer = buffers.take().ok_or(NoLoop::Buffer)?;
            let packet = Packet::originated(buffer, &self.ledger, Origin::Cover);
            Ok(Plan { format: Arc::clone(format), path, packet })
        };
        paths.into_iter().map(plan).collect()
    }

    fn skip(&mut self, reason: NoLoop) {
        self.loops().metrics.skipped.increment(1);
        if !self.is_idle {
            tracing::info!(%reason, "no cover is sent until this changes");
        }
        self.is_idle = true;
    }
}

/// The paths of two loops through the same two guards, one this way and one that.
fn there_and_back(
    rng: &mut StdRng,
    pool: &MixPool,
    me: &MixNode,
    sample: &[PeerId],
    connected: &BTreeSet<PeerId>,
) -> Result<[[MixNode; PATH_LEN]; 2], NoLoop> {
    let is_in_use = |guard: &&PeerId| connected.contains(guard) && pool.node(guard).is_some();
    let guards: BTreeSet<PeerId> = sample.iter().filter(is_in_use).copied().collect();
    let first = guards.iter().nth(random::index(rng, guards.len().max(1))).ok_or(NoLoop::Guards)?;
    let there = loop_path(rng, pool, me, first, LoopPlace::First, Some(&guards), Preference::NONE);
    let there = there.map_err(|_| NoLoop::Guards)?;
    let [first, second, me] = there.clone();
    Ok([there, [second, first, me]])
}

/// A loop that the host has, and the end that hears how it left.
struct Dispatch {
    id: LoopId,
    first: PeerId,
    result: oneshot::Receiver<Result<(), SendFailure>>,
}

impl Dispatch {
    async fn heard(self) -> (LoopId, PeerId, Result<(), SendFailure>) {
        (self.id, self.first, self.result.await.unwrap_or(Err(SendFailure::Stopped)))
    }
}

/// Builds a loop; `None` if that failed, which the ledger counts.
fn build(rng: &mut StdRng, plan: Plan, delay_ms: u16) -> Option<(Packet, LoopId)> {
    let Plan { format, path, mut packet } = plan;
    let body = encode_cover(rng, format.as_ref());
    let id = CoverBody::read(&body).and_then(|cover| cover.id)?;
    let last = PATH_LEN - 1;
    let hop = |at: usize| PathHop {
        key: path[at].key,
        address: path[at].address.encode(),
        delay_ms: if at < last { delay_ms } else { 0 },
    };
    let path = std::array::from_fn(hop);
    match format.build(rng, &path, &[0; ADDRESS_LEN], &body, packet.bytes_mut()) {
        Ok(()) => Some((packet, id)),
        Err(error) => {
            tracing::error!(%error, "a cover packet cannot be built; report this as a bug");
            None
        }
    }
}

/// This node as the end of a path: without its own address it can be reached over its connections.
fn me(node: &LocalNode, directory: &Directory) -> Option<MixNode> {
    let known = node.hop_address.borrow().clone();
    let address = known.or_else(|| HopAddress::placeholder(node.peer).ok())?;
    Some(MixNode { family: directory.own_family, ..MixNode::new(address, node.mix_public_key()) })
}

/// The only nodes that can pass a packet on to this one; `None` if all can.
fn last_hops<'d>(node: &LocalNode, directory: &'d Directory) -> Option<&'d BTreeSet<PeerId>> {
    let is_relayed = node.hop_address.borrow().as_ref().map(|address| address.relay().is_some());
    let needs_connection = match is_relayed {
        None => true,
        Some(is_relayed) => node.reachability() == Reachability::Private && !is_relayed,
    };
    needs_connection.then_some(&directory.connected)
}
