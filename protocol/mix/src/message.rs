//! Mix messages: what the 3968-byte message block carries once its padding is gone (`spec/mix-wire.md` §7.3).
//!
//! | kind | codec | rest |
//! |---|---|---|
//! | request | application protocol id | number of SURBs u8 ‖ SURBs (734 each) ‖ application bytes |
//! | reply | empty | application bytes |
//! | cover | [`COVER_CODEC`] | random bytes |
//!
//! In front of each stands the length of the codec as a varint. An empty reply is therefore the one byte `00`;
//! that is also what the reference sends, through every SURB, when its exit could not reach the destination
//! (§11.1), although its decoder of before September 2026 takes that byte for content.
//! We follow the corrected decoder in every profile: lengths are minimal varints of at most two bytes.

use std::fmt;

use rand_core::CryptoRng;
use thiserror::Error;
use unsigned_varint::{decode, encode};
use wakumix_sphinx::{MAX_SURBS, Profile, SURB_LEN, Surb};

use crate::{COVER_CODEC, DropReason};

/// Longest codec that a request may name, in bytes: what decoders of before September 2026 understand.
pub const MAX_CODEC_LEN: usize = 127;

/// Longest codec that the form can express, in bytes: two bytes of varint.
const MAX_EXPRESSIBLE_CODEC_LEN: usize = (1 << 14) - 1;

/// Why a message cannot be written or was not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MessageError {
    /// No bytes at all; every message has at least the length of its codec.
    #[error("the message is empty")]
    Empty,
    /// The length of the codec is not a minimal varint of one or two bytes.
    #[error("the length of the codec is not a minimal varint of one or two bytes")]
    CodecLength,
    /// The message ends before its codec or one of its SURBs does.
    #[error("the message ends too early")]
    Truncated,
    /// The codec has more bytes than a request may name.
    #[error("the codec has {0} bytes, at most {MAX_CODEC_LEN} are understood everywhere")]
    CodecTooLong(usize),
    /// A request without a codec names no protocol.
    #[error("the request names no protocol")]
    CodecMissing,
    /// The codec of a request has bytes outside ASCII.
    #[error("the codec is not ASCII")]
    CodecNotAscii,
    /// The codec of cover traffic cannot name a request.
    #[error("{COVER_CODEC} is reserved for cover traffic")]
    CodecReserved,
    /// A reply with a codec.
    #[error("the reply has a codec")]
    ReplyCodec,
    /// More SURBs than a message can hold.
    #[error("{0} SURBs, at most {MAX_SURBS} are allowed")]
    TooManySurbs(usize),
    /// The request ends before its SURBs do.
    #[error("the request ends before its SURBs do")]
    SurbsTruncated,
}

impl MessageError {
    /// How a packet is counted that is dropped for this error.
    #[must_use]
    pub const fn drop_reason(self) -> DropReason {
        match self {
            Self::TooManySurbs(_) | Self::SurbsTruncated => DropReason::BadSurbs,
            _ => DropReason::BadMessage,
        }
    }
}

/// A codec and what follows it: the form that all mix messages share.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct MixMessage<'a> {
    /// The codec, any bytes.
    pub codec: &'a [u8],
    /// Everything behind the codec.
    pub rest: &'a [u8],
}

impl<'a> MixMessage<'a> {
    /// Writes length, codec and rest.
    ///
    /// # Errors
    /// [`MessageError::CodecTooLong`] beyond the 16 383 bytes that two bytes of length can say. What a request
    /// may name is less: [`MAX_CODEC_LEN`].
    pub fn encode(&self) -> Result<Vec<u8>, MessageError> {
        if self.codec.len() > MAX_EXPRESSIBLE_CODEC_LEN {
            return Err(MessageError::CodecTooLong(self.codec.len()));
        }
        let mut out = Vec::with_capacity(2 + self.codec.len() + self.rest.len());
        push_codec(&mut out, self.codec);
        out.extend_from_slice(self.rest);
        Ok(out)
    }

    /// Splits a body into codec and rest.
    ///
    /// # Errors
    /// [`MessageError::Empty`], [`MessageError::CodecLength`], [`MessageError::Truncated`].
    pub fn decode(body: &'a [u8]) -> Result<Self, MessageError> {
        if body.is_empty() {
            return Err(MessageError::Empty);
        }
        let (length, rest) = decode::u16(body).map_err(|_| MessageError::CodecLength)?;
        let length = usize::from(length);
        if length > MAX_EXPRESSIBLE_CODEC_LEN {
            return Err(MessageError::CodecLength);
        }
        let (codec, rest) = rest.split_at_checked(length).ok_or(MessageError::Truncated)?;
        Ok(Self { codec, rest })
    }
}

/// An application's bytes for a protocol at the exit or beyond it, with the SURBs for the answer.
pub struct Request<'a> {
    /// The protocol id, for example `/vac/waku/lightpush/3.0.0`: ASCII, 1 to 127 bytes.
    pub codec: &'a str,
    /// Single-use reply blocks; the same answer goes through each of them. At most five.
    pub surbs: Vec<Surb>,
    /// The application's bytes, framing included.
    pub data: &'a [u8],
}

/// What an exit finds in a packet.
#[derive(Debug)]
pub enum Body<'a> {
    /// Cover traffic: to be counted and forgotten.
    Cover,
    /// A request.
    Request(Request<'a>),
}

impl<'a> Request<'a> {
    /// Writes the body of a request packet. Whether it fits is [`request_capacity`](crate::request_capacity)'s
    /// to say, and the packet builder's to enforce.
    ///
    /// # Errors
    /// [`MessageError::CodecMissing`], [`MessageError::CodecTooLong`], [`MessageError::CodecNotAscii`],
    /// [`MessageError::CodecReserved`], [`MessageError::TooManySurbs`].
    pub fn encode(&self) -> Result<Vec<u8>, MessageError> {
        check_codec(self.codec)?;
        if self.surbs.len() > MAX_SURBS {
            return Err(MessageError::TooManySurbs(self.surbs.len()));
        }
        let size = 2 + self.codec.len() + self.surbs.len() * SURB_LEN + self.data.len();
        let mut out = Vec::with_capacity(size);
        push_codec(&mut out, self.codec.as_bytes());
        out.extend(u8::try_from(self.surbs.len()));
        for surb in &self.surbs {
            out.extend_from_slice(&surb.to_bytes());
        }
        out.extend_from_slice(self.data);
        debug_assert_eq!(out.len(), size);
        Ok(out)
    }

    /// Reads the body of a packet whose path ends here.
    ///
    /// The SURBs are parsed, not trusted: whether their first hop may be dialled is the exit's policy (§21 W8).
    ///
    /// # Errors
    /// Any [`MessageError`] but [`MessageError::CodecReserved`] and [`MessageError::ReplyCodec`].
    pub fn decode(body: &'a [u8]) -> Result<Body<'a>, MessageError> {
        let MixMessage { codec, rest } = MixMessage::decode(body)?;
        if codec == COVER_CODEC.as_bytes() {
            return Ok(Body::Cover);
        }
        let codec = str::from_utf8(codec).map_err(|_| MessageError::CodecNotAscii)?;
        check_codec(codec)?;
        let (surbs, data) = decode_surbs(rest)?;
        Ok(Body::Request(Self { codec, surbs, data }))
    }
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("surbs", &self.surbs.len())
            .field("data_len", &self.data.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for MixMessage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MixMessage").field("codec_len", &self.codec.len()).field("rest_len", &self.rest.len()).finish()
    }
}

/// Reads the SURBs of a request and returns the application bytes behind them.
///
/// # Errors
/// [`MessageError::Truncated`] without a count, [`MessageError::TooManySurbs`], [`MessageError::SurbsTruncated`].
pub fn decode_surbs(rest: &[u8]) -> Result<(Vec<Surb>, &[u8]), MessageError> {
    let (&count, mut rest) = rest.split_first().ok_or(MessageError::Truncated)?;
    let count = usize::from(count);
    if count > MAX_SURBS {
        return Err(MessageError::TooManySurbs(count));
    }
    let mut surbs = Vec::with_capacity(count);
    for _ in 0..count {
        let (surb, tail) = rest.split_first_chunk::<SURB_LEN>().ok_or(MessageError::SurbsTruncated)?;
        surbs.push(Surb::from_bytes(surb));
        rest = tail;
    }
    Ok((surbs, rest))
}

/// Writes the body of a reply.
#[must_use]
pub fn encode_reply(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + data.len());
    out.push(0);
    out.extend_from_slice(data);
    out
}

/// Reads the body of a reply and returns the application's bytes, none for the body `00`.
///
/// # Errors
/// [`MessageError::ReplyCodec`] if it has a codec, as the newest reference does (§9.3), else as
/// [`MixMessage::decode`].
pub fn decode_reply(body: &[u8]) -> Result<&[u8], MessageError> {
    let message = MixMessage::decode(body)?;
    if !message.codec.is_empty() {
        return Err(MessageError::ReplyCodec);
    }
    Ok(message.rest)
}

/// Writes the body of a cover packet: its codec and random bytes, as long as the fleet makes it, which is one
/// byte short of a full block (§16).
#[must_use]
pub fn encode_cover<R: CryptoRng + ?Sized>(rng: &mut R, profile: Profile) -> Vec<u8> {
    let mut out = Vec::with_capacity(profile.data_len());
    push_codec(&mut out, COVER_CODEC.as_bytes());
    let filled_from = out.len();
    out.resize(profile.data_len() - 1, 0);
    rng.fill_bytes(&mut out[filled_from..]);
    out
}

/// Appends the length of a codec and the codec.
fn push_codec(out: &mut Vec<u8>, codec: &[u8]) {
    out.extend_from_slice(encode::usize(codec.len(), &mut encode::usize_buffer()));
    out.extend_from_slice(codec);
}

/// The rule for the codec of a request, when writing and when reading.
fn check_codec(codec: &str) -> Result<(), MessageError> {
    match codec {
        "" => Err(MessageError::CodecMissing),
        COVER_CODEC => Err(MessageError::CodecReserved),
        long if long.len() > MAX_CODEC_LEN => Err(MessageError::CodecTooLong(long.len())),
        other if !other.is_ascii() => Err(MessageError::CodecNotAscii),
        _ => Ok(()),
    }
}
