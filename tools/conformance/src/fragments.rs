//! `fragmentation`: message blocks and their padding (§7.2), and the sequence numbers that we never make (§21 W1).

use libp2p_identity::PeerId;
use serde_json::Value;
use sha2::{Digest, Sha256};
use wakumix_sphinx::{MESSAGE_LEN, Profile, Sphinx, inspect};

use crate::block::{self, BlockForm};
use crate::json::Fields;
use crate::packets::sequence;
use crate::report::{PeerReports, Problem, SectionReport};
use crate::rules::Rule;
use crate::section::{Checked, each, parts};

/// All parts of the section, one report each.
pub(crate) fn fragmentation(profile: Profile, value: &Value) -> Vec<SectionReport> {
    parts("fragmentation", value, |name, part| {
        let section = format!("fragmentation.{name}");
        Some(match name {
            "pad" => each(&section, part, |found, fields| pad(found, profile, fields)),
            "decode_cases" => each(&section, part, |found, fields| decode(found, profile, fields)),
            "seqno" => each(&section, part, peer_number),
            "pad_and_chunk" => each(&section, part, |found, fields| chunks(found, profile, fields)),
            _ => return None,
        })
    })
}

/// One message to one block and back, or refused for its length.
fn pad(found: &mut PeerReports, profile: Profile, fields: Fields<'_>) -> Checked {
    let message = fields.bytes("message")?;
    let padded = Sphinx::new(profile).message_block(&message, sequence(profile, fields)?);
    if fields.optional_flag("ok")? == Some(false) {
        found.value("ok", false, padded.is_ok());
        return Ok(());
    }
    let chunk = fields.bytes("chunk")?;
    match padded {
        Ok(block) => found.bytes("chunk", &chunk, &block),
        Err(error) => found.fail("message", "a message that fits", error),
    }
    padding_length(found, fields, &chunk)?;
    reads_back(found, profile, &chunk, &message);
    found.recorded("unpadded_ok", fields.optional_flag("unpadded_ok")?, read(profile, &chunk).is_some());
    Ok(())
}

fn padding_length(found: &mut PeerReports, fields: Fields<'_>, chunk: &[u8]) -> Checked {
    if let Some(length) = fields.optional_small::<u16>("padding_length")? {
        found.bytes("padding_length", &length.to_be_bytes(), chunk.get(..2).unwrap_or_default());
    }
    Ok(())
}

fn reads_back(found: &mut PeerReports, profile: Profile, chunk: &[u8], message: &[u8]) {
    match read(profile, chunk) {
        Some(body) => found.bytes("message", message, &body),
        None => found.fail("chunk", "a block that can be read", "refused"),
    }
}

/// The body of a block, as the product reads it at an exit; `None` if the product refuses it.
fn read(profile: Profile, block: &[u8]) -> Option<Vec<u8>> {
    let block: &[u8; MESSAGE_LEN] = block.try_into().ok()?;
    inspect::block_body(profile, block).map(|range| block[range].to_vec())
}

/// Blocks good and bad.
fn decode(found: &mut PeerReports, profile: Profile, fields: Fields<'_>) -> Checked {
    let chunk = fields.bytes("chunk")?;
    let body = read(profile, &chunk);
    if !fields.flag("ok")? {
        found.value("ok", false, body.is_some());
        return Ok(());
    }
    let unpadded = fields.bytes("unpadded")?;
    match (body, block::form(profile, &chunk)) {
        (Some(body), BlockForm::Body(_)) => found.bytes("unpadded", &unpadded, &body),
        (Some(_), _) => found.fail("chunk", "refused: its padding is not as §7.2", "accepted"),
        (None, BlockForm::DirtyPadding(range)) => {
            found.bytes("unpadded", &unpadded, &chunk[range]);
            found.stricter(Rule::ZeroPadding);
        }
        (None, _) => found.fail("ok", true, "refused"),
    }
    Ok(())
}

/// What the reference derives from a peer id. We never do; the record is compared with the formula of §7.2.
fn peer_number(found: &mut PeerReports, fields: Fields<'_>) -> Checked {
    let peer = peer_id(fields)?;
    found.recorded_bytes("peer_id_bytes", fields.optional_bytes("peer_id_bytes")?, &peer.to_bytes());
    let number = u64::from(short_hash(&[&peer.to_bytes()]) % u32::MAX);
    found.value("seqno_init_from_peer", fields.number("seqno_init_from_peer")?, number);
    found.stricter(Rule::RandomSequence);
    Ok(())
}

/// A message cut into blocks with the reference's sequence numbers: the blocks are compared, the numbers are ours never.
fn chunks(found: &mut PeerReports, profile: Profile, fields: Fields<'_>) -> Checked {
    let message = fields.bytes("message")?;
    let millis: u64 = fields.number("unix_seconds_times_1000")?;
    let own = short_hash(&[&peer_id(fields)?.to_bytes()]);
    let mut number = own.wrapping_add(short_hash(&[&message, &millis.to_be_bytes()])) % u32::MAX;
    let mut read_so_far = Vec::new();
    for (index, value) in fields.list("chunks")?.iter().enumerate() {
        found.at_hop(None);
        let name = format!("chunks[{index}]");
        let inner = Fields::of(&name, value)?;
        found.value(&format!("{name}.seq_no"), inner.number("seq_no")?, number.into());
        let chunk = inner.bytes("chunk")?;
        padding_length(found, inner, &chunk)?;
        let Some(body) = read(profile, &chunk) else {
            found.fail(&format!("{name}.chunk"), "a block that can be read", "refused");
            return Ok(());
        };
        match Sphinx::new(profile).message_block(&body, number.to_be_bytes()) {
            Ok(block) => found.bytes(&format!("{name}.chunk"), &chunk, &block),
            Err(error) => found.fail(&format!("{name}.chunk"), "a body that fits", error),
        }
        read_so_far.extend_from_slice(&body);
        number = number.wrapping_add(1);
    }
    found.bytes("message", &message, &read_so_far);
    found.stricter(Rule::RandomSequence);
    Ok(())
}

fn peer_id(fields: Fields<'_>) -> Result<PeerId, Problem> {
    let text = fields.text("peer_id")?;
    text.parse().map_err(|error| Problem::new("peer_id", "a peer id", error))
}

/// The first four bytes of SHA-256, big-endian.
fn short_hash(parts: &[&[u8]]) -> u32 {
    let hash = Sha256::digest(parts.concat());
    u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
}
