//! Mix messages: what the 3968-byte message block carries once its padding is gone (`spec/mix-wire.md §7.3`).
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
use unsigned_varint::encode;
use wakumix_sphinx::{MAX_SURBS, PacketFormat, Surb};

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
    /// A SURB that every hop would refuse (`spec/mix-wire.md §21 W5`). The reference accepts it and loses the answer.
    #[error("a SURB of the request cannot be used")]
    SurbUnusable,
}

impl MessageError {
    /// How a packet is counted that is dropped for this error.
    #[must_use]
    pub const fn drop_reason(self) -> DropReason {
        match self {
            Self::TooManySurbs(_) | Self::SurbsTruncated | Self::SurbUnusable => DropReason::BadSurbs,
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
        let (length, rest) = read_codec_length(body)?;
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
        let surbs: usize = self.surbs.iter().map(Surb::encoded_len).sum();
        let size = 2 + self.codec.len() + surbs + self.data.len();
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

    /// Reads the body of a packet of this format whose path ends here.
    ///
    /// The SURBs are parsed, not trusted: whether their first hop may be dialled is the exit's policy (§21 W8).
    ///
    /// # Errors
    /// Any [`MessageError`] but [`MessageError::CodecReserved`] and [`MessageError::ReplyCodec`].
    pub fn decode(format: &dyn PacketFormat, body: &'a [u8]) -> Result<Body<'a>, MessageError> {
        let MixMessage { codec, rest } = MixMessage::decode(body)?;
        if codec == COVER_CODEC.as_bytes() {
            return Ok(Body::Cover);
        }
        let codec = str::from_utf8(codec).map_err(|_| MessageError::CodecNotAscii)?;
        check_codec(codec)?;
        let (surbs, data) = decode_surbs(format, rest)?;
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
/// [`MessageError::Truncated`] without a count, [`MessageError::TooManySurbs`], [`MessageError::SurbsTruncated`],
/// [`MessageError::SurbUnusable`].
pub fn decode_surbs<'a>(format: &dyn PacketFormat, rest: &'a [u8]) -> Result<(Vec<Surb>, &'a [u8]), MessageError> {
    let (&count, mut rest) = rest.split_first().ok_or(MessageError::Truncated)?;
    let count = usize::from(count);
    if count > MAX_SURBS {
        return Err(MessageError::TooManySurbs(count));
    }
    let mut surbs = Vec::with_capacity(count);
    for _ in 0..count {
        let (surb, tail) = rest.split_at_checked(format.surb_len()).ok_or(MessageError::SurbsTruncated)?;
        surbs.push(format.read_surb(surb).map_err(|_| MessageError::SurbUnusable)?);
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

/// Writes the body of a cover packet: its codec and random bytes, as long as nwaku makes it, which is one
/// byte short of a full block (§16).
#[must_use]
pub fn encode_cover<R: CryptoRng + ?Sized>(rng: &mut R, format: &dyn PacketFormat) -> Vec<u8> {
    let mut out = Vec::with_capacity(format.data_len());
    push_codec(&mut out, COVER_CODEC.as_bytes());
    let filled_from = out.len();
    out.resize(format.data_len().saturating_sub(1), 0);
    rng.fill_bytes(&mut out[filled_from..]);
    out
}

/// Reads the length of a codec: one byte, or two of which the second is not zero. Written out because the decoders of
/// `unsigned-varint` for 16 bits take a third byte and lose its upper bits.
fn read_codec_length(body: &[u8]) -> Result<(usize, &[u8]), MessageError> {
    match body {
        [] => Err(MessageError::Empty),
        [length @ 0..=0x7f, rest @ ..] => Ok((usize::from(*length), rest)),
        [low, high @ 1..=0x7f, rest @ ..] => Ok((usize::from(low & 0x7f) | usize::from(*high) << 7, rest)),
        _ => Err(MessageError::CodecLength),
    }
}

/// Appends the length of a codec and the codec.
fn push_codec(out: &mut Vec<u8>, codec: &[u8]) {
    out.extend_from_slice(encode::usize(codec.len(), &mut encode::usize_buffer()));
    out.extend_from_slice(codec);
}

/// The rule for the codec of a request, when writing and when reading.
pub(crate) fn check_codec(codec: &str) -> Result<(), MessageError> {
    match codec {
        "" => Err(MessageError::CodecMissing),
        COVER_CODEC => Err(MessageError::CodecReserved),
        long if long.len() > MAX_CODEC_LEN => Err(MessageError::CodecTooLong(long.len())),
        other if !other.is_ascii() => Err(MessageError::CodecNotAscii),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use wakumix_sphinx::{Block, Cipher, Profile, SURB_LEN, Sphinx};

    use super::*;
    use crate::testing::{rng, sphinx, surb};

    /// What a request carried, in a form that can be compared.
    type Parts = (String, Vec<Vec<u8>>, Vec<u8>);

    fn parts(body: Body<'_>) -> Option<Parts> {
        match body {
            Body::Cover => None,
            Body::Request(Request { codec, surbs, data }) => {
                let surbs = surbs.iter().map(|surb| surb.to_bytes().to_vec()).collect();
                Some((codec.to_owned(), surbs, data.to_vec()))
            }
        }
    }

    fn request<'a>(codec: &'a str, surbs: usize, data: &'a [u8]) -> Request<'a> {
        let surbs = (0..surbs as u64).map(|seed| surb(seed).0).collect();
        Request { codec, surbs, data }
    }

    fn decode_error(body: &[u8]) -> Option<MessageError> {
        Request::decode(&sphinx(), body).err()
    }

    #[test]
    fn a_request_is_codec_then_count_then_surbs_then_data() {
        let body = request("/ping", 2, b"hello").encode().unwrap();
        assert_eq!(body[..7], *b"\x05/ping\x02");
        assert_eq!(body[7..7 + SURB_LEN], surb(0).0.to_bytes());
        assert_eq!(body[7 + SURB_LEN..7 + 2 * SURB_LEN], surb(1).0.to_bytes());
        assert_eq!(body[7 + 2 * SURB_LEN..], *b"hello");
    }

    #[test]
    fn the_count_stands_also_without_surbs() {
        assert_eq!(request("a", 0, b"").encode().unwrap(), b"\x01a\x00");
        assert_eq!(decode_error(b"\x01a"), Some(MessageError::Truncated));
    }

    #[test]
    fn an_empty_reply_is_one_zero_byte() {
        assert_eq!(encode_reply(b""), [0]);
        assert_eq!(decode_reply(&[0]), Ok(&[][..]));
        assert_eq!(encode_reply(b"A"), b"\x00A");
        assert_eq!(decode_reply(b"\x00A"), Ok(&b"A"[..]));
    }

    #[test]
    fn a_reply_with_a_codec_is_refused() {
        assert_eq!(decode_reply(b"\x01aA"), Err(MessageError::ReplyCodec));
        assert_eq!(decode_reply(b""), Err(MessageError::Empty));
    }

    #[test]
    fn reads_the_length_only_as_a_minimal_varint_of_at_most_two_bytes() {
        for (body, error) in [
            (&b""[..], MessageError::Empty),
            (b"\x80", MessageError::CodecLength),
            (b"\x80\x00", MessageError::CodecLength),
            (b"\x81\x00a", MessageError::CodecLength),
            (b"\xff\xff", MessageError::CodecLength),
            (b"\x80\x80\x01", MessageError::CodecLength),
            (b"\x81\x80\x04a", MessageError::CodecLength),
            (b"\x05", MessageError::Truncated),
            (b"\x02a", MessageError::Truncated),
            (b"\x80\x01", MessageError::Truncated),
            (b"\xff\x7f", MessageError::Truncated),
        ] {
            assert_eq!(MixMessage::decode(body), Err(error), "{body:02x?}");
        }
    }

    #[test]
    fn the_form_expresses_longer_codecs_than_a_request_may_name() {
        let codec = [b'c'; 128];
        let message = MixMessage { codec: &codec, rest: &[0] };
        let body = message.encode().unwrap();
        assert_eq!(body[..2], [0x80, 0x01]);
        assert_eq!(MixMessage::decode(&body), Ok(message));
        assert_eq!(decode_error(&body), Some(MessageError::CodecTooLong(128)));
        let longest = [b'c'; MAX_EXPRESSIBLE_CODEC_LEN + 1];
        let message = MixMessage { codec: &longest, rest: &[] };
        assert_eq!(message.encode(), Err(MessageError::CodecTooLong(longest.len())));
    }

    #[test]
    fn a_request_names_a_protocol_in_at_most_127_bytes_of_ascii() {
        let longest = "c".repeat(MAX_CODEC_LEN);
        assert!(request(&longest, 0, b"").encode().is_ok());
        for (codec, error) in [
            ("", MessageError::CodecMissing),
            (&"c".repeat(128), MessageError::CodecTooLong(128)),
            ("/pïng", MessageError::CodecNotAscii),
            (COVER_CODEC, MessageError::CodecReserved),
        ] {
            assert_eq!(request(codec, 0, b"").encode(), Err(error));
        }
        assert_eq!(decode_error(b"\x00\x00"), Some(MessageError::CodecMissing));
        assert_eq!(decode_error(b"\x01\xff\x00"), Some(MessageError::CodecNotAscii));
    }

    #[test]
    fn refuses_more_than_five_surbs_and_surbs_cut_short() {
        let six = request("a", 6, b"");
        assert_eq!(six.encode(), Err(MessageError::TooManySurbs(6)));
        assert_eq!(decode_error(b"\x01a\xff"), Some(MessageError::TooManySurbs(255)));
        let mut body = request("a", 5, b"").encode().unwrap();
        assert!(Request::decode(&sphinx(), &body).is_ok());
        body.pop();
        assert_eq!(decode_error(&body), Some(MessageError::SurbsTruncated));
        assert_eq!(MessageError::SurbsTruncated.drop_reason(), DropReason::BadSurbs);
        assert_eq!(MessageError::Truncated.drop_reason(), DropReason::BadMessage);
    }

    #[test]
    fn refuses_a_surb_that_no_hop_would_take() {
        let mut body = b"\x01a\x01".to_vec();
        body.resize(body.len() + SURB_LEN, 0);
        assert_eq!(decode_error(&body), Some(MessageError::SurbUnusable));
    }

    #[test]
    fn cover_is_recognised_and_as_long_as_the_fleets() {
        for (block, random_bytes) in [(Block::Seq, 3944), (Block::Pad, 3948)] {
            let format = Sphinx::new(Profile { cipher: Cipher::Lioness, block, proof_len: 0 });
            let body = encode_cover(&mut rng(1), &format);
            assert_eq!(body.len(), 1 + COVER_CODEC.len() + random_bytes);
            assert_ne!(body, encode_cover(&mut rng(2), &format));
            assert!(parts(Request::decode(&format, &body).unwrap()).is_none());
        }
    }

    #[test]
    fn debug_output_shows_neither_codec_nor_data() {
        let text = format!("{:?}", Body::Request(request("/ping", 1, b"hello")));
        assert_eq!(text, "Request(Request { surbs: 1, data_len: 5, .. })");
    }

    proptest! {
        #[test]
        fn reads_back_the_request_that_it_writes(
            codec in "[ -~]{1,127}",
            surbs in 0..=MAX_SURBS,
            data in vec(any::<u8>(), 0..400),
        ) {
            let request = request(&codec, surbs, &data);
            let body = request.encode().unwrap();
            let read = parts(Request::decode(&sphinx(), &body).unwrap());
            prop_assert_eq!(read, parts(Body::Request(request)));
        }

        #[test]
        fn reads_back_the_reply_that_it_writes(data in vec(any::<u8>(), 0..400)) {
            let body = encode_reply(&data);
            prop_assert_eq!(decode_reply(&body), Ok(&data[..]));
        }

        #[test]
        fn arbitrary_bytes_are_refused_or_written_back(body in vec(any::<u8>(), 0..1600)) {
            if let Ok(message) = MixMessage::decode(&body) {
                prop_assert_eq!(message.encode(), Ok(body.clone()));
            }
            if let Ok(Body::Request(request)) = Request::decode(&sphinx(), &body) {
                prop_assert_eq!(request.encode(), Ok(body.clone()));
            }
            if let Ok(data) = decode_reply(&body) {
                prop_assert_eq!(encode_reply(data), body);
            }
        }

        #[test]
        fn bytes_that_resemble_a_request_are_refused_or_written_back(
            codec in "[a-c]{0,3}",
            count in 0..8_u8,
            rest in vec(any::<u8>(), 0..4 * SURB_LEN),
        ) {
            let mut body = Vec::new();
            push_codec(&mut body, codec.as_bytes());
            body.push(count);
            body.extend_from_slice(&rest);
            let format = sphinx();
            let outcome = Request::decode(&format, &body);
            if outcome.is_ok() {
                prop_assert!(!codec.is_empty());
                prop_assert!(usize::from(count) <= MAX_SURBS && rest.len() >= usize::from(count) * SURB_LEN);
            }
            if let Ok(Body::Request(request)) = outcome {
                prop_assert_eq!(request.encode(), Ok(body));
            }
        }
    }
}
