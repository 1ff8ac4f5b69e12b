//! Where this project decides otherwise than the recorded reference, and by which rule of the specification.

use std::fmt;

use serde::{Serialize, Serializer};

/// A rule of `spec/mix-wire.md` that makes us refuse what the recorded reference accepts, or correct what it got wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// The sequence number is random; the reference derives it from the sender's peer id.
    RandomSequence,
    /// All padding bytes of a message block are zero; the reference does not look at them.
    ZeroPadding,
    /// α below 2^255 − 19 and with its top bit clear; old references reduce it.
    CanonicalAlpha,
    /// α and the shared secret are not zero; old references go on with keys known to everybody.
    NonZeroAlpha,
    /// The replay tag is SHA-256 of the shared secret; old references hash the malleable α too.
    SecretTag,
    /// The replay tag is stored after the MAC check; old references store it before.
    TagAfterMac,
    /// The zero prefix of a reply is checked before its credentials are used up; the AES reference does not check it.
    ReplyPrefix,
    /// The key stream is sought with the whole 128-bit counter; the reference drops the carry out of the low 64 bits.
    CounterSeek,
    /// The delay is read big-endian; references of before February 2026 read it in host order.
    DelayOrder,
    /// The transport byte of an address is 0 or 1; the reference reads anything else as plain UDP.
    TransportByte,
    /// The peer ids of an address are secp256k1 identities; the reference takes any multihash.
    AddressPeer,
    /// 94 zero bytes mean no address; the reference decodes them to one.
    NoAddress,
    /// A body of one byte is parsed like any other; old references hand the byte out as content.
    OneByteBody,
    /// The codec length is a minimal varint of at most two bytes; old references read one byte.
    CodecLength,
}

impl Rule {
    /// Section of the specification and the rule in a few words, as reports print it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RandomSequence => "W1 random sequence number",
            Self::ZeroPadding => "W2 zero padding",
            Self::CanonicalAlpha => "W5 canonical alpha",
            Self::NonZeroAlpha => "W5 no zero alpha or zero secret",
            Self::SecretTag => "W5 replay tag of the secret alone",
            Self::TagAfterMac => "W6 replay tag after the MAC",
            Self::ReplyPrefix => "W7 zero prefix of replies",
            Self::CounterSeek => "§4.3 seek in 128 bits",
            Self::DelayOrder => "§5.2 big-endian delay",
            Self::TransportByte => "§5.1 known transport byte",
            Self::AddressPeer => "§5.1 secp256k1 peer id",
            Self::NoAddress => "§5.1 zeros are no address",
            Self::OneByteBody => "§7.3 one-byte body",
            Self::CodecLength => "§7.3 canonical codec length",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
