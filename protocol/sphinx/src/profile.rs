//! Wire profiles: the choices that every node of a path must share (`spec/mix-wire.md §20`).

use core::fmt;
use core::str::FromStr;

use thiserror::Error;

use crate::layout::{MESSAGE_LEN, PACKET_LEN, PAD_LENGTH_LEN, SEQUENCE_LEN};

/// The largest proof suffix that a profile may name, in bytes.
///
/// Known deployments use 0 or 301. The bound keeps a mistyped profile from sizing buffers, and every packet of nwaku
/// shorter than one of the second format: a node tells them apart by their length.
pub const MAX_PROOF_LEN: usize = 1024;

/// How the payload layers are encrypted. All hops of a path must agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cipher {
    /// AES-128-CTR per layer. Malleable (§21 W2); for fleets of before July 2026.
    AesCtr,
    /// LIONESS after LIP-183: a damaged payload is destroyed as a whole.
    Lioness,
}

/// What ends a message block. Sender and exit must agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Block {
    /// Four bytes of sequence number, random here because the reference's value names the sender (§21 W1).
    Seq,
    /// Nothing: the body reaches to the end of the block.
    Pad,
}

/// One wire profile: payload cipher, message block, and size of the proof after each packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Profile {
    /// Cipher of the payload layers.
    pub cipher: Cipher,
    /// Form of the message block.
    pub block: Block,
    /// Bytes of proof that follow the 4608 bytes of every packet; 0 for none.
    pub proof_len: usize,
}

impl Profile {
    /// Names for what deployed fleets run, newest last.
    pub const PRESETS: &'static [(&'static str, Profile)] = &[
        ("nwaku-2025-12", Self::new(Cipher::AesCtr, Block::Seq, 0)),
        ("logos-delivery-2026-08", Self::new(Cipher::AesCtr, Block::Seq, 0)),
        ("logos-testnet-0.2", Self::new(Cipher::AesCtr, Block::Seq, 301)),
        ("mix-2026-07", Self::new(Cipher::Lioness, Block::Seq, 0)),
        ("mix-2026-09", Self::new(Cipher::Lioness, Block::Pad, 0)),
    ];

    const fn new(cipher: Cipher, block: Block, proof_len: usize) -> Self {
        Self { cipher, block, proof_len }
    }

    /// Bytes of a packet on the wire, proof included.
    #[must_use]
    pub const fn packet_len(self) -> usize {
        PACKET_LEN + self.proof_len
    }

    /// Longest body that fits in one packet, in bytes.
    #[must_use]
    pub const fn data_len(self) -> usize {
        MESSAGE_LEN - PAD_LENGTH_LEN - self.block.tail_len()
    }
}

impl Block {
    /// Bytes between the end of the body and the end of the block.
    pub(crate) const fn tail_len(self) -> usize {
        match self {
            Self::Seq => SEQUENCE_LEN,
            Self::Pad => 0,
        }
    }
}

impl Default for Profile {
    /// The newest and strongest: LIONESS, no sequence number, no proof.
    fn default() -> Self {
        Self::new(Cipher::Lioness, Block::Pad, 0)
    }
}

impl fmt::Display for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AesCtr => "aes-ctr",
            Self::Lioness => "lioness",
        })
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Seq => "seq",
            Self::Pad => "pad",
        })
    }
}

impl fmt::Display for Profile {
    /// The canonical form: `cipher/block`, and `/proof` when there is a proof.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.cipher, self.block)?;
        if self.proof_len > 0 {
            write!(f, "/{}", self.proof_len)?;
        }
        Ok(())
    }
}

impl FromStr for Profile {
    type Err = ProfileError;

    /// Reads a preset name, or `cipher/block` with an optional `/proof length`.
    fn from_str(text: &str) -> Result<Self, ProfileError> {
        if let Some((_, profile)) = Self::PRESETS.iter().find(|(name, _)| *name == text) {
            return Ok(*profile);
        }
        parse_axes(text).ok_or_else(|| ProfileError { text: text.chars().take(64).collect() })
    }
}

fn parse_axes(text: &str) -> Option<Profile> {
    let mut parts = text.split('/');
    let cipher = match parts.next()? {
        "aes-ctr" => Cipher::AesCtr,
        "lioness" => Cipher::Lioness,
        _ => return None,
    };
    let block = match parts.next()? {
        "seq" => Block::Seq,
        "pad" => Block::Pad,
        _ => return None,
    };
    let proof_len = match parts.next() {
        None => 0,
        Some(digits) if digits.bytes().all(|digit| digit.is_ascii_digit()) => {
            digits.parse().ok().filter(|&length| length <= MAX_PROOF_LEN)?
        }
        Some(_) => return None,
    };
    parts.next().is_none().then_some(Profile::new(cipher, block, proof_len))
}

/// A profile that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "unknown mix profile {text:?}; accepted: <aes-ctr|lioness>/<seq|pad>, optionally /<proof bytes, at most {MAX_PROOF_LEN}>, \
     or one of {}",
    PresetNames
)]
pub struct ProfileError {
    text: String,
}

struct PresetNames;

impl fmt::Display for PresetNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, _)) in Profile::PRESETS.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            f.write_str(name)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_and_every_canonical_form_reads_back() {
        for (name, profile) in Profile::PRESETS {
            assert_eq!(name.parse(), Ok(*profile));
            assert_eq!(profile.to_string().parse(), Ok(*profile));
        }
        assert_eq!(Profile::default().to_string(), "lioness/pad");
        assert_eq!("aes-ctr/seq/301".parse::<Profile>().map(Profile::packet_len), Ok(4909));
        assert_eq!("lioness/pad/0".parse(), Ok(Profile::default()));
    }

    #[test]
    fn rejects_other_text_and_lists_what_is_accepted() {
        for text in
            ["", "lioness", "lioness/pad/", "lioness/pad/+1", "lioness/pad/1025", "lioness/pad/1/2", "LIONESS/PAD"]
        {
            let error = text.parse::<Profile>().unwrap_err().to_string();
            if !text.is_empty() {
                assert!(error.contains(text), "{error}");
            }
            assert!(error.contains("aes-ctr|lioness") && error.contains("mix-2026-09"), "{error}");
        }
    }

    #[test]
    fn room_for_data_follows_the_block() {
        assert_eq!(Profile::new(Cipher::Lioness, Block::Pad, 0).data_len(), 3966);
        assert_eq!(Profile::new(Cipher::AesCtr, Block::Seq, 0).data_len(), 3962);
    }
}
