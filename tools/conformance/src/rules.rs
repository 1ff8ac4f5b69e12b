//! Where this project decides otherwise than the recorded reference, and by which rule of the specification.

use std::fmt;

use serde::{Serialize, Serializer};

wakumix_sphinx::named_enum! {
    /// A rule of `spec/mix-wire.md` that makes us refuse what the recorded reference accepts, or correct what it got wrong.
    #[non_exhaustive]
    pub enum Rule {
        /// The sequence number is random; the reference derives it from the sender's peer id.
        RandomSequence = "W1 random sequence number",
        /// All padding bytes of a message block are zero; the reference does not look at them.
        ZeroPadding = "W2 zero padding",
        /// α below 2^255 − 19 and with its top bit clear; old references reduce it.
        CanonicalAlpha = "W5 canonical alpha",
        /// α and the shared secret are not zero; old references go on with keys known to everybody.
        NonZeroAlpha = "W5 no zero alpha or zero secret",
        /// The replay tag is SHA-256 of the shared secret; old references hash the malleable α too.
        SecretTag = "W5 replay tag of the secret alone",
        /// The replay tag is stored after the MAC check; old references store it before.
        TagAfterMac = "W6 replay tag after the MAC",
        /// The zero prefix of a reply is checked before its credentials are used up; the AES reference does not check it.
        ReplyPrefix = "W7 zero prefix of replies",
        /// The key stream is sought with the whole 128-bit counter; the reference drops the carry out of the low 64 bits.
        CounterSeek = "§4.3 seek in 128 bits",
        /// The delay is read big-endian; references of before February 2026 read it in host order.
        DelayOrder = "§5.2 big-endian delay",
        /// The transport byte of an address is 0 or 1; the reference reads anything else as plain UDP.
        TransportByte = "§5.1 known transport byte",
        /// The peer ids of an address are secp256k1 identities; the reference takes any multihash.
        AddressPeer = "§5.1 secp256k1 peer id",
        /// 94 zero bytes mean no address; the reference decodes them to one.
        NoAddress = "§5.1 zeros are no address",
        /// A body of one byte is parsed like any other; old references hand the byte out as content.
        OneByteBody = "§7.3 one-byte body",
        /// The codec length is a minimal varint of at most two bytes; old references read one byte.
        CodecLength = "§7.3 canonical codec length",
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
