//! Writes vector files from this implementation, for others to check theirs with.
//!
//! Every byte follows from the seed and the profile: the same pair gives the same file, on every machine. Inputs that
//! have no meaning of their own are hashes of the seed and a name, in the manner of the reference's files.

mod messages;
mod nodes;
mod packets;
mod primitives;
mod reject;
mod source;
mod tree;

use libp2p_identity::DecodingError;
use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};
use thiserror::Error;
use wakumix_mix::{AddressError, COVER_CODEC, MIX_PROTOCOL, MessageError};
use wakumix_sphinx::{Block, BuildError, Cipher, KeyError, Profile, Reject, SurbError};

use crate::meta::{profile, variant};
use crate::report::Problem;
use source::Source;
use tree::{Object, Tree};

/// Writes the vector file of `seed` and `profile` as JSON text that ends with a newline.
///
/// A proof suffix has no part in vectors: profiles that differ in it give the same file.
///
/// # Errors
/// [`GenerateError`], for about one seed in 2^120.
pub fn generate(seed: u64, of: Profile) -> Result<String, GenerateError> {
    let of = profile(of.cipher, of.block);
    let file = file(&Source::new(seed), of)?;
    let mut text = Vec::new();
    file.serialize(&mut Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(b" ")))?;
    text.push(b'\n');
    String::from_utf8(text).map_err(|_| GenerateError::Text)
}

fn file(source: &Source, of: Profile) -> Result<Object, GenerateError> {
    let nodes = nodes::make(source)?;
    let surbs = packets::surbs(source, of, &nodes)?;
    let mut file = Object::new()
        .with("meta", meta(source, of))
        .with("constants", nodes::constants(of))
        .with("nodes", nodes::section(&nodes))
        .with("kdf", primitives::kdf(source, of))
        .with("aes128_ctr", primitives::aes_ctr(source))
        .with("aes128_ctr_start_index", primitives::aes_ctr_seek(source))
        .with("hmac_sha256_128", primitives::mac(source))
        .with("x25519", primitives::x25519(source))
        .with("blinder", primitives::blinder(source));
    if of.cipher == Cipher::Lioness {
        file = file
            .with("lioness_kdf", primitives::lioness_kdf(source))
            .with("lioness", primitives::lioness(source))
            .with("lioness_stream", primitives::lioness_stream(source))
            .with("lioness_hash", primitives::lioness_hash(source))
            .with("lioness_reject", primitives::lioness_reject());
    }
    Ok(file
        .with("multiaddr", messages::addresses(&nodes)?)
        .with("mix_message", messages::mix_message(source, of)?)
        .with("fragmentation", messages::fragmentation(source, of)?)
        .with("surbs", Tree::List(surbs.iter().map(packets::MadeSurb::entry).collect()))
        .with("surb_payload", messages::surb_payload(source, &surbs)?)
        .with("sphinx_packets", packets::forward(source, of, &nodes, &surbs)?)
        .with("reject", reject::section(source, of, &nodes, &surbs)?))
}

fn meta(source: &Source, of: Profile) -> Object {
    let cipher = match of.cipher {
        Cipher::AesCtr => "AES-128-CTR",
        Cipher::Lioness => "LIONESS per LIP-183 (AES-128-CTR stream, SHA-256 keyed hash, SHA-256 round keys)",
    };
    let block = match of.block {
        Block::Seq => "SEQ: padding length, zero padding, body, sequence number",
        Block::Pad => "PAD: padding length, zero padding, body (no sequence number)",
    };
    let meta = match variant(of) {
        Some(name) => Object::new().with("variant", name),
        None => Object::new(),
    };
    meta.with("reference", "wakumix")
        .with("reference_kind", "written by wakumix from its own code; the independent proof is the reference's files")
        .with("seed", source.seed())
        .with("protocol_id", MIX_PROTOCOL)
        .with("cover_codec", COVER_CODEC)
        .with(
            "encoding",
            "all byte fields lower-case hex without prefix; delays in ms; addresses are the 94-byte fixed form",
        )
        .with("payload_cipher", cipher)
        .with("message_block", block)
        .with("deterministic_bytes", source::RULE)
        .with(
            "replay_tag",
            "SHA-256(shared secret); the blinding scalar SHA-256(alpha||shared secret) is given separately as blinder",
        )
        .with("alpha_checks", "zero, non-canonical (>= 2^255-19) and low-order alpha refused")
        .with("padding_checks", "padding that is not zero is refused, in packets and in replies")
}

/// Why a vector file could not be written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// A packet could not be built.
    #[error("a packet could not be built")]
    Build(#[from] BuildError),
    /// A packet that was just built was refused.
    #[error("a packet that was just built was refused")]
    Refused(#[from] Reject),
    /// The seed gives a number that is no identity key.
    #[error("an identity key could not be made")]
    Identity(#[from] DecodingError),
    /// A mix key was refused.
    #[error("a mix key was refused")]
    Key(#[from] KeyError),
    /// An address could not be encoded.
    #[error("an address could not be encoded")]
    Address(#[from] AddressError),
    /// A multiaddress of the generator is malformed.
    #[error("a multiaddress could not be read")]
    Multiaddr(#[from] multiaddr::Error),
    /// A message could not be encoded.
    #[error("a message could not be encoded")]
    Message(#[from] MessageError),
    /// A reply block that was just made was refused.
    #[error("a reply block that was just made was refused")]
    Surb(#[from] SurbError),
    /// A value that was just made could not be used.
    #[error("a value could not be made: {0}")]
    Value(String),
    /// The file could not be written as JSON.
    #[error("the vectors could not be written as JSON")]
    Json(#[from] serde_json::Error),
    /// The JSON was not text.
    #[error("the JSON was not text")]
    Text,
}

impl From<Problem> for GenerateError {
    fn from(problem: Problem) -> Self {
        Self::Value(problem.text())
    }
}
