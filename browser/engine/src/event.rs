//! What the engine has the page do, and tells it.

use libp2p_identity::PeerId;
use wakumix_client::{
    Exposure,
    lightpush::{Answer, DeliveryPath, PushFailure},
};
use wakumix_records::descriptor::SignatureToCheck;

use crate::codec::Writer;

/// One event; its number on the wire is its place here, from 0.
#[derive(Debug)]
pub enum Event {
    /// The engine has started; its mix key is new.
    Started,
    /// A command cannot be carried out, for this reason.
    Refused(String),
    /// Write this packet to a peer over a connection that exists, and answer with [`Left`](crate::Command::Left).
    Packet {
        /// Names it in the answer.
        id: u32,
        /// The first hop.
        to: PeerId,
        /// The packet.
        bytes: Vec<u8>,
    },
    /// Connect to a peer at one of these addresses, in binary form.
    Dial(PeerId, Vec<Vec<u8>>),
    /// Close the connection to a peer that was dialled for the engine: it was only looked at.
    HangUp(PeerId),
    /// Ask a connected peer for descriptors with this request, framing included.
    Fetch(PeerId, Vec<u8>),
    /// Ask one of these services directly, with this request, framing included.
    AskDirectly {
        /// The request.
        id: u32,
        /// The services, each with addresses in binary form.
        services: Vec<(PeerId, Vec<Vec<u8>>)>,
        /// What to write.
        request: Vec<u8>,
        /// The time that is left, in milliseconds.
        limit_ms: u32,
    },
    /// A request has ended.
    Outcome(u32, Box<PushOutcome>),
    /// What the engine knows has changed.
    Status(Box<EngineStatus>),
    /// What to keep for the next visit: pool and guards. It is for [`Restore`](crate::Command::Restore) alone to read.
    Store(Vec<u8>),
    /// Check these signatures, and answer with [`Verified`](crate::Command::Verified).
    Verify(u32, Vec<SignatureToCheck>),
}

/// How a request ended.
#[derive(Debug)]
pub struct PushOutcome {
    /// The answer, or why there is none.
    pub result: Result<Answer, PushFailure>,
    /// Who has seen something of it.
    pub exposure: Exposure,
    /// How often it was sent, as far as that is known.
    pub tries: u32,
}

/// Whether the page could send, and what it knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineStatus {
    /// Mix nodes in the pool.
    pub usable: u32,
    /// All mix nodes that are known.
    pub known: u32,
    /// Guards that are sampled.
    pub guards: u32,
    /// Guards in use that are connected.
    pub connected_guards: u32,
    /// What is missing to send: a stable code and words; `None` when the page can send.
    pub lack: Option<(&'static str, String)>,
}

impl Event {
    pub(crate) fn write(&self, w: &mut Writer) {
        match self {
            Self::Started => w.u8(0),
            Self::Refused(words) => {
                w.u8(1);
                w.bytes(words.as_bytes());
            }
            Self::Packet { id, to, bytes } => {
                w.u8(2);
                w.u32(*id);
                w.peer(to);
                w.bytes(bytes);
            }
            Self::Dial(peer, addresses) => {
                w.u8(3);
                target(w, (peer, addresses));
            }
            Self::HangUp(peer) => {
                w.u8(4);
                w.peer(peer);
            }
            Self::Fetch(peer, request) => {
                w.u8(5);
                w.peer(peer);
                w.bytes(request);
            }
            Self::AskDirectly { id, services, request, limit_ms } => {
                w.u8(6);
                w.u32(*id);
                w.list(services, |w, (peer, addresses)| target(w, (peer, addresses)));
                w.bytes(request);
                w.u32(*limit_ms);
            }
            Self::Outcome(id, outcome) => {
                w.u8(7);
                w.u32(*id);
                outcome.write(w);
            }
            Self::Status(status) => {
                w.u8(8);
                status.write(w);
            }
            Self::Store(state) => {
                w.u8(9);
                w.bytes(state);
            }
            Self::Verify(id, signatures) => {
                w.u8(10);
                w.u32(*id);
                w.list(signatures, |w, SignatureToCheck { public_key, signed, signature }| {
                    [public_key, signed, signature].into_iter().for_each(|bytes| w.bytes(bytes));
                });
            }
        }
    }
}

fn target(w: &mut Writer, (peer, addresses): (&PeerId, &[Vec<u8>])) {
    w.peer(peer);
    w.list(addresses, |w, address| w.bytes(address));
}

impl PushOutcome {
    fn write(&self, w: &mut Writer) {
        let Exposure { guards, exits, packets, reply_paths } = self.exposure;
        [guards, exits, packets, reply_paths, self.tries].into_iter().for_each(|count| w.u32(count));
        match &self.result {
            Ok(answer) => {
                w.u8(1);
                w.bytes(answer.kind().as_bytes());
                w.u32(answer.status);
                w.option(answer.description.as_deref(), |w, words| w.bytes(words.as_bytes()));
                w.option(answer.relay_peer_count, Writer::u32);
                w.option(answer.message_hash, |w, hash| w.bytes(&hash));
                w.f64(answer.round_trip.as_secs_f64() * 1000.0);
                let (is_direct, reason) = match &answer.path {
                    DeliveryPath::Mixnet => (false, None),
                    DeliveryPath::Direct(reason) => (true, reason.as_ref()),
                };
                w.u8(is_direct.into());
                w.option(reason, |w, reason| w.bytes(reason.kind().as_bytes()));
            }
            Err(failure) => {
                w.u8(0);
                w.bytes(failure.kind().as_bytes());
                w.bytes(failure.to_string().as_bytes());
            }
        }
    }
}

impl EngineStatus {
    fn write(&self, w: &mut Writer) {
        let Self { usable, known, guards, connected_guards, lack } = self;
        [usable, known, guards, connected_guards].into_iter().for_each(|count| w.u32(*count));
        w.option(lack.as_ref(), |w, (code, words)| {
            w.bytes(code.as_bytes());
            w.bytes(words.as_bytes());
        });
    }
}
