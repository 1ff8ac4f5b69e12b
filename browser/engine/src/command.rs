//! What the page tells the engine.

use std::{num::NonZeroU16, time::Duration};

use libp2p_identity::PeerId;
use wakumix_client::{
    Anonymity, SendFailure,
    lightpush::{AutoShards, DirectFailure, Push},
};
use wakumix_sphinx::PublicKey;
use wakumix_waku::WakuMessage;

use crate::codec::{Malformed, Reader};

/// One command; its number on the wire is its place here, from 0.
#[derive(Debug)]
pub enum Command {
    /// Begin. Comes once, and first.
    Start(Box<EngineSettings>),
    /// What [`Event::Store`](crate::Event::Store) gave in an earlier visit.
    Restore(Vec<u8>),
    /// A mix node that the app names.
    MixNode(Box<NamedNode>),
    /// The page is connected to a peer.
    Connected(PeerId),
    /// It is no longer.
    Disconnected(PeerId),
    /// A peer could not be dialled.
    DialFailed(PeerId),
    /// The network is back: what failed may be tried at once.
    Online,
    /// What a peer answered when it was asked for descriptors; `None` if it did not.
    Descriptors(PeerId, Option<Vec<u8>>),
    /// A packet came in.
    Packet(Vec<u8>),
    /// A packet was written, or could not be.
    Left(u32, Result<(), SendFailure>),
    /// A message is to be published; no open request has this id.
    Push(u32, Box<Push>),
    /// Nobody waits for a request any more.
    Forget(u32),
    /// What a service answered that was asked directly.
    DirectAnswer(u32, Result<Vec<u8>, DirectFailure>),
    /// Time has passed.
    Tick,
    /// All open requests end.
    Close,
    /// Which of the signatures of an [`Event::Verify`](crate::Event::Verify) are good, in its order.
    Verified(u32, Vec<bool>),
}

/// How an engine is set.
#[derive(Debug)]
pub struct EngineSettings {
    /// The page's own peer id.
    pub peer: PeerId,
    /// The cluster of the network.
    pub cluster: u16,
    /// Its number of shards, where it shards by content topic.
    pub auto_shards: Option<AutoShards>,
    /// What packets are made in: one profile of nwaku's packet, as text.
    pub profile: String,
    /// Whether addresses count that mean something only within one network: for tests.
    pub allow_private: bool,
    /// Whether only secure WebSockets can be dialled, as from a page that came over https.
    pub secure_only: bool,
    /// How long a caller waits who names no limit.
    pub timeout: Option<Duration>,
    /// Mean time between two loops of cover; `None` makes none.
    pub cover: Option<Duration>,
    /// Whether what [`Event::Store`](crate::Event::Store) gives is kept.
    pub keeps_state: bool,
    /// Peers that may be asked for the first descriptors, each with its multiaddress in binary form.
    pub bootstrap: Vec<(PeerId, Vec<u8>)>,
}

/// A mix node that the app names.
#[derive(Debug)]
pub struct NamedNode {
    /// Its peer id.
    pub peer: PeerId,
    /// Its multiaddresses in binary form, without its peer id.
    pub addresses: Vec<Vec<u8>>,
    /// Its mix key.
    pub key: PublicKey,
    /// Whether it serves lightpush.
    pub lightpush: bool,
}

impl Command {
    /// Reads a command.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let r = &mut Reader(bytes);
        let command = match r.u8()? {
            0 => Self::Start(Box::new(settings(r)?)),
            1 => Self::Restore(r.bytes()?.to_vec()),
            2 => Self::MixNode(Box::new(named_node(r)?)),
            3 => Self::Connected(r.peer()?),
            4 => Self::Disconnected(r.peer()?),
            5 => Self::DialFailed(r.peer()?),
            6 => Self::Online,
            7 => Self::Descriptors(r.peer()?, r.option(|r| r.bytes().map(<[u8]>::to_vec))?),
            8 => Self::Packet(r.bytes()?.to_vec()),
            9 => Self::Left(r.u32()?, left(r.u8()?)?),
            10 => Self::Push(r.u32()?, Box::new(push(r)?)),
            11 => Self::Forget(r.u32()?),
            12 => Self::DirectAnswer(r.u32()?, direct_answer(r)?),
            13 => Self::Tick,
            14 => Self::Close,
            15 => Self::Verified(r.u32()?, r.list(Reader::flag)?),
            _ => return Err(Malformed),
        };
        r.end().map(|()| command)
    }
}

fn settings(r: &mut Reader<'_>) -> Result<EngineSettings, Malformed> {
    let peer = r.peer()?;
    let cluster = r.u16()?;
    let shards = NonZeroU16::new(r.u16()?);
    Ok(EngineSettings {
        peer,
        cluster,
        auto_shards: shards.map(|shards| AutoShards { cluster, shards }),
        profile: r.text()?,
        allow_private: r.flag()?,
        secure_only: r.flag()?,
        timeout: r.option(milliseconds)?,
        cover: r.option(milliseconds)?,
        keeps_state: r.flag()?,
        bootstrap: r.list(|r| Ok((r.peer()?, r.bytes()?.to_vec())))?,
    })
}

fn milliseconds(r: &mut Reader<'_>) -> Result<Duration, Malformed> {
    r.u32().map(|milliseconds| Duration::from_millis(milliseconds.into()))
}

fn named_node(r: &mut Reader<'_>) -> Result<NamedNode, Malformed> {
    Ok(NamedNode {
        peer: r.peer()?,
        addresses: r.list(|r| r.bytes().map(<[u8]>::to_vec))?,
        key: public_key(r.bytes()?)?,
        lightpush: r.flag()?,
    })
}

fn public_key(bytes: &[u8]) -> Result<PublicKey, Malformed> {
    let bytes = bytes.try_into().map_err(|_| Malformed)?;
    PublicKey::from_bytes(bytes).map_err(|_| Malformed)
}

fn left(code: u8) -> Result<Result<(), SendFailure>, Malformed> {
    Ok(match code {
        0 => Ok(()),
        1 => Err(SendFailure::QueueFull),
        2 => Err(SendFailure::NotConnected),
        3 => Err(SendFailure::WriteFailed),
        _ => return Err(Malformed),
    })
}

fn direct_answer(r: &mut Reader<'_>) -> Result<Result<Vec<u8>, DirectFailure>, Malformed> {
    Ok(match r.u8()? {
        0 => Ok(r.bytes()?.to_vec()),
        1 => Err(DirectFailure::DialFailed),
        2 => Err(DirectFailure::Unsupported),
        3 => Err(DirectFailure::Stream(r.text()?)),
        _ => return Err(Malformed),
    })
}

fn push(r: &mut Reader<'_>) -> Result<Push, Malformed> {
    let message = WakuMessage {
        payload: r.bytes()?.to_vec(),
        content_topic: r.text()?,
        version: r.u32()?,
        timestamp: r.option(Reader::i64)?,
        meta: r.bytes()?.to_vec(),
        rate_limit_proof: r.bytes()?.to_vec(),
        ephemeral: r.flag()?,
    };
    let pubsub_topic = r.option(Reader::text)?;
    let timeout = r.option(milliseconds)?;
    let anonymity = match r.u8()? {
        0 => Anonymity::Required,
        1 => Anonymity::Preferred,
        _ => return Err(Malformed),
    };
    Ok(Push { message, pubsub_topic, exit: None, timeout, anonymity })
}
