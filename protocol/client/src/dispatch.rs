//! A try, or a loop, whose decisions are all taken: what a shell builds and hands to the first hops.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rand_core::CryptoRng;
use wakumix_mix::{
    HopAddress, MixNode, Origin,
    fragment::{FRAGMENT_CODEC, cut},
    request_capacity,
};
use wakumix_sphinx::{AddressBytes, FormatKind, PATH_LEN, PacketFormat, ReplyKeys};

use crate::{
    ClientError, TryId,
    build::{build, build_loop},
    layout::PacketLayout,
    route::PathPair,
};

/// Packets to be built and handed over, all on one thread: once begun it is done to its end, whatever becomes of the request.
///
/// A shell takes room for [`Self::len`] packets first, so that none is made in vain; then [begins](Self::begin),
/// [builds](Self::build), [keeps](crate::SurbStore::insert) the credentials, hands the packets over, and says so by
/// [`Input::Dispatched`](crate::Input::Dispatched), or by [`Input::NotDispatched`](crate::Input::NotDispatched) if it did not.
#[derive(Debug)]
pub struct Dispatch {
    /// Which try it is.
    pub id: TryId,
    /// How long each packet waits here before it leaves, in the order of the packets.
    pub holds: Vec<Duration>,
    pub(crate) start: Arc<Start>,
    pub(crate) kind: FormatKind,
    pub(crate) content: Content,
    pub(crate) delay_ms: u16,
}

/// What the packets carry.
pub(crate) enum Content {
    Request { pairs: Vec<PathPair>, destination: AddressBytes, layout: PacketLayout, codec: Arc<str>, bytes: Arc<[u8]> },
    Loop { path: Box<[MixNode; PATH_LEN]> },
}

wakumix_sphinx::redacted!(Content);

/// Why packets were not handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotDispatched {
    /// There is no room now: for packets, for credentials, in front of the first hops.
    Congested,
    /// The request has ended before the first packet was made; nobody needs to know.
    Late,
    /// There never will be.
    Failed(ClientError),
}

/// Decides between the thread that builds the packets of a try and the end of its request, so that an account of the request
/// has every packet that is made: none is made after the end, and what is being made by then leaves and counts.
#[derive(Debug, Default)]
pub(crate) struct Start(AtomicBool);

impl Start {
    /// The first of builder and end gets true.
    pub(crate) fn is_first(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
}

impl Dispatch {
    /// The format of the packets.
    #[must_use]
    pub fn kind(&self) -> FormatKind {
        self.kind
    }

    /// Why the packets are made, for the account of the node.
    #[must_use]
    pub fn origin(&self) -> Origin {
        match self.content {
            Content::Request { .. } => Origin::Request,
            Content::Loop { .. } => Origin::Loop,
        }
    }

    /// How many packets there are; never none.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        self.holds.len()
    }

    /// Where each packet goes first.
    pub fn first_hops(&self) -> impl Iterator<Item = &HopAddress> {
        let (pairs, path) = match &self.content {
            Content::Request { pairs, .. } => (pairs.as_slice(), None),
            Content::Loop { path } => (&[][..], Some(&**path)),
        };
        pairs.iter().map(|pair| &pair.forward).chain(path).map(|[first, ..]| &first.address)
    }

    /// The path of each packet of a request, and those of the replies to it: for simulations. A loop has none.
    pub fn paths(&self) -> impl Iterator<Item = (&[MixNode; PATH_LEN], &[[MixNode; PATH_LEN]])> {
        let pairs = match &self.content {
            Content::Request { pairs, .. } => pairs.as_slice(),
            Content::Loop { .. } => &[],
        };
        pairs.iter().map(|pair| (&pair.forward, pair.reply.as_slice()))
    }

    /// To be called before the first packet is built: false if the request has ended, and nothing is to be built.
    #[must_use]
    pub fn begin(&self) -> bool {
        self.start.is_first()
    }

    /// Builds the packets in these buffers, one for each, and returns what opens the replies. `format` is the one of
    /// [`Self::kind`].
    ///
    /// # Errors
    /// [`ClientError::Internal`]: sizes were checked before.
    pub fn build<R: CryptoRng>(
        &self,
        format: &dyn PacketFormat,
        rng: &mut R,
        buffers: &mut [impl AsMut<[u8]>],
    ) -> Result<Vec<ReplyKeys>, ClientError> {
        match &self.content {
            Content::Request { pairs, destination, layout, codec, bytes } => {
                let (codec, bodies) = bodies(format, rng, *layout, codec, bytes)?;
                let mut keys = Vec::new();
                for ((paths, body), buffer) in pairs.iter().zip(&bodies).zip(buffers) {
                    let (delay, body) = (self.delay_ms, (codec, &**body));
                    let built = build(format, rng, paths, destination, body, delay, buffer.as_mut());
                    keys.extend(built.map_err(|_| ClientError::Internal("the request does not fit its packet"))?);
                }
                Ok(keys)
            }
            Content::Loop { path } => {
                let buffer = buffers.first_mut().ok_or(ClientError::Internal("a loop without a buffer"))?;
                let built = build_loop(format, rng, path, self.delay_ms, buffer.as_mut());
                Ok(vec![built.map_err(|_| ClientError::Internal("the loop does not fit its packet"))?])
            }
        }
    }
}

/// The codec and the application bytes of each packet.
fn bodies<'a, R: CryptoRng>(
    format: &dyn PacketFormat,
    rng: &mut R,
    layout: PacketLayout,
    codec: &'a str,
    bytes: &[u8],
) -> Result<(&'a str, Vec<Vec<u8>>), ClientError> {
    match layout {
        PacketLayout::Whole { .. } => Ok((codec, vec![bytes.to_vec()])),
        PacketLayout::Fragments { shards, surbs } => {
            let room = request_capacity(format, FRAGMENT_CODEC, surbs).unwrap_or(0);
            let cut = cut(rng, codec, bytes, shards, room);
            Ok((FRAGMENT_CODEC, cut.map_err(|_| ClientError::Internal("the request cannot be cut"))?))
        }
    }
}
