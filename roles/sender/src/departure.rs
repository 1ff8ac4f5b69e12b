//! From a route to packets that have been handed to the mixer, and what must be forgotten when nobody waits for their
//! answers any more.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rand::rngs::StdRng;
use tokio::sync::{mpsc, oneshot};
use wakumix_mix::{
    DropReason, GroupId, HopAddress, Origin, Packet,
    fragment::{FRAGMENT_CODEC, cut},
    request_capacity,
};
use wakumix_role_api::{
    NoRoom, Served, Slot,
    host::SendFailure,
    mixer::{LocalPacket, MixerMessage},
    sender::PushFailure,
};
use wakumix_sphinx::ReplyKeys;
use wakumix_waku::lightpush::V3_PROTOCOL;

use crate::{fit::Carriage, route::Route, seal::seal, shared::Shared};

/// What came through one of the reply blocks of a try.
#[derive(Debug)]
pub(crate) enum Reply {
    /// The application bytes of a sound reply.
    Opened(Vec<u8>),
    /// A reply that was not sound has used the try up: only without the countermeasure.
    Burned,
}

/// Where the reply to a try goes. The first that opens takes it out of the book, so there is one for each try.
#[derive(Debug)]
pub(crate) struct Sink {
    /// The number of the try in its request.
    pub(crate) number: usize,
    /// To the task of the request, which has room for a reply to each try.
    pub(crate) replies: mpsc::Sender<(usize, Reply)>,
}

/// The credentials of one try; dropping it forgets them.
pub(crate) struct Credentials {
    shared: Arc<Shared>,
    group: GroupId,
}

impl Drop for Credentials {
    fn drop(&mut self) {
        self.shared.book.cancel(self.group);
    }
}

/// How the packet to one first hop left.
pub(crate) struct FirstHop {
    pub(crate) to: HopAddress,
    pub(crate) left: oneshot::Receiver<Result<(), SendFailure>>,
}

/// Packets that have been handed over.
pub(crate) struct Departed {
    pub(crate) credentials: Credentials,
    pub(crate) first_hops: Vec<FirstHop>,
}

/// Why packets were not handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotDeparted {
    /// There is no room now: for packets, for credentials, in the mixer's queue.
    Congested,
    /// The request has ended; nobody hears this.
    Late,
    /// There never will be.
    Failed(PushFailure),
}

/// Decides between the worker that makes the packets of a try and the end of its request, so that an account of the request
/// has every packet that is made: none is made after the end, and what is being made by then leaves and counts.
#[derive(Debug, Default)]
pub(crate) struct Start(AtomicBool);

impl Start {
    /// Before the first packet: false if the request has ended.
    fn begin(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }

    /// At the end of the request: false if packets are being made or are made.
    pub(crate) fn prevent(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
}

/// A try whose decisions are all taken.
pub(crate) struct Departure {
    pub(crate) start: Arc<Start>,
    pub(crate) route: Route,
    /// The framed request.
    pub(crate) frame: Arc<[u8]>,
    pub(crate) delay_ms: u16,
    /// How long each packet waits here.
    pub(crate) holds: Vec<Duration>,
    pub(crate) sink: Sink,
    pub(crate) rng: StdRng,
}

/// Room in the mixer's queue.
pub(crate) type Room<'a> = Slot<'a, MixerMessage>;

impl Departure {
    /// Makes the packets and hands them to the mixer, all on a worker: once begun it is done to its end, whatever becomes of
    /// the task that asked for it. There is room for them before they are made, so that none is made in vain.
    pub(crate) fn run(mut self, shared: &Arc<Shared>) -> Result<Departed, NotDeparted> {
        let rooms = self.route.legs.iter().map(|_| room(shared)).collect::<Result<Vec<_>, _>>()?;
        let mut packets = self.buffers(shared)?;
        let keys = match self.seal(shared, &mut packets) {
            Ok(keys) => keys,
            Err(problem) => {
                packets.into_iter().for_each(|packet| packet.reject(DropReason::Abandoned));
                return Err(NotDeparted::Failed(PushFailure::Internal(problem)));
            }
        };
        let first_hops = self.route.legs.iter().map(|leg| leg.path[0].address.clone());
        let locals = first_hops.zip(packets).zip(self.holds);
        let locals = locals.map(|((to, packet), hold)| LocalPacket { to, packet, hold, done: None });
        hand_over(shared, keys, self.sink, rooms.into_iter().zip(locals).collect())
    }

    /// An empty buffer for each packet, if there are as many.
    fn buffers(&self, shared: &Shared) -> Result<Vec<Packet>, NotDeparted> {
        let served = shared.formats.of_kind(self.route.kind).ok_or(NotDeparted::Congested)?;
        let wanted = self.route.legs.len();
        let buffers: Vec<_> = (0..wanted).map_while(|_| served.buffers.take()).collect();
        if buffers.len() < wanted {
            return Err(NotDeparted::Congested);
        }
        if !self.start.begin() {
            return Err(NotDeparted::Late);
        }
        Ok(buffers.into_iter().map(|buffer| Packet::originated(buffer, &shared.ledger, Origin::Request)).collect())
    }

    fn seal(&mut self, shared: &Shared, packets: &mut [Packet]) -> Result<Vec<ReplyKeys>, &'static str> {
        let served = shared.formats.of_kind(self.route.kind).ok_or("a route of no format")?;
        let (codec, bodies) = self.bodies(served)?;
        let mut keys = Vec::new();
        for ((leg, body), packet) in self.route.legs.iter().zip(&bodies).zip(packets) {
            let destination = &self.route.destination;
            let (rng, out) = (&mut self.rng, packet.bytes_mut());
            let sealed = seal(&*served.format, rng, leg, destination, (codec, body), self.delay_ms, out);
            keys.extend(sealed.map_err(|_| "the request does not fit its packet")?);
        }
        Ok(keys)
    }

    /// The codec and the application bytes of each packet.
    fn bodies(&mut self, served: &Served) -> Result<(&'static str, Vec<Vec<u8>>), &'static str> {
        match self.route.carriage {
            Carriage::Whole { .. } => Ok((V3_PROTOCOL, vec![self.frame.to_vec()])),
            Carriage::Fragments { shards, surbs } => {
                let room = request_capacity(&*served.format, FRAGMENT_CODEC, surbs).unwrap_or(0);
                let cut = cut(&mut self.rng, V3_PROTOCOL, &self.frame, shards, room);
                Ok((FRAGMENT_CODEC, cut.map_err(|_| "the request cannot be cut")?))
            }
        }
    }
}

/// Room for one packet in the mixer's queue.
pub(crate) fn room(shared: &Shared) -> Result<Room<'_>, NotDeparted> {
    shared.mixer.address().try_reserve().map_err(|no_room| match no_room {
        NoRoom::Full => NotDeparted::Congested,
        NoRoom::Closed => NotDeparted::Failed(PushFailure::Stopped),
    })
}

/// Keeps the credentials that open the replies and hands the packets to the mixer.
///
/// # Errors
/// [`NotDeparted::Congested`] when there is no room for the credentials.
pub(crate) fn hand_over(
    shared: &Arc<Shared>,
    keys: Vec<ReplyKeys>,
    sink: Sink,
    locals: Vec<(Room<'_>, LocalPacket)>,
) -> Result<Departed, NotDeparted> {
    let Ok(group) = shared.book.insert(keys, sink) else {
        shared.metrics.record_rejected_credentials();
        locals.into_iter().for_each(|(_, local)| local.packet.reject(DropReason::QueueFull));
        return Err(NotDeparted::Congested);
    };
    let credentials = Credentials { shared: Arc::clone(shared), group };
    let send = |(room, mut local): (Room<'_>, LocalPacket)| {
        let (done, left) = oneshot::channel();
        local.done = Some(done);
        let to = local.to.clone();
        room.send(MixerMessage::Send(Box::new(local)));
        FirstHop { to, left }
    };
    let first_hops = locals.into_iter().map(send).collect();
    Ok(Departed { credentials, first_hops })
}
