//! Sections of whole packets: `sphinx_packets` (forward) and `surbs` (replies), built and opened.

use serde_json::Value;
use wakumix_mix::MixMessage;
use wakumix_mix::{COVER_CODEC, Request, decode_reply, encode_reply};
use wakumix_sphinx::{AddressBytes, MESSAGE_LEN, PACKET_LEN, PathHop, Profile, Sphinx, Surb, SurbId, inspect};

use crate::block::{self, BlockForm};
use crate::hops::Walk;
use crate::json::Fields;
use crate::nodes::{Node, Nodes, hops, same_keys};
use crate::reply::{Credentials, recover};
use crate::report::{PeerReports, Problem, SectionReport};
use crate::rules::Rule;
use crate::section::{Checked, each};

/// `sphinx_packets`: each is built from its ephemeral key and opened at every hop (§6, §7, §10).
pub(crate) fn forward(profile: Profile, nodes: &Nodes, value: &Value) -> SectionReport {
    each("sphinx_packets", value, |found, fields| {
        let path = nodes.path(fields)?;
        let hops_list = fields.list("hops")?;
        build(found, profile, fields, &path)?;
        if let Some(internals) = fields.get("internals") {
            self::internals(found, fields, &path, internals)?;
        }
        same_keys(found, &path, hops_list)?;
        let packet = fields.bytes("packet")?;
        Walk::new(profile).along(found, &packet, hops_list)?;
        message(found, profile, fields)
    })
}

/// Builds the packet and compares every byte.
pub(crate) fn build(found: &mut PeerReports, profile: Profile, fields: Fields<'_>, path: &[Node; 3]) -> Checked {
    let hops = hops(path, fields.delays("delays_ms")?)?;
    let ephemeral = fields.array("ephemeral_private_key")?;
    let destination: AddressBytes = fields.array("destination_address_bytes")?;
    let block: [u8; MESSAGE_LEN] = fields.array("message")?;
    let mut packet = vec![0; PACKET_LEN];
    Sphinx::new(profile)
        .build_block(&ephemeral, &hops, &destination, &block, &mut packet)
        .map_err(|error| Problem::new("packet", "a packet that can be built", error))?;
    found.bytes("packet", &fields.bytes("packet")?, &packet);
    Ok(())
}

/// α and secrets of each hop, and the filler.
fn internals(found: &mut PeerReports, fields: Fields<'_>, path: &[Node; 3], value: &Value) -> Checked {
    let hops = hops(path, fields.delays("delays_ms")?)?;
    let ephemeral = fields.array("ephemeral_private_key")?;
    let inner = Fields::of("internals", value)?;
    header_parts(found, inner, &ephemeral, &hops)
}

/// The fields `alpha`, `shared_secrets`, `filler` and `blinders`, where they are recorded.
pub(crate) fn header_parts(
    found: &mut PeerReports,
    fields: Fields<'_>,
    ephemeral: &[u8; 32],
    hops: &[PathHop; 3],
) -> Checked {
    let parts = inspect::header_parts(ephemeral, hops)
        .map_err(|error| Problem::new("shared_secrets", "a header that can be built", error))?;
    for (name, ours) in [("alpha", parts.alphas), ("shared_secrets", parts.secrets), ("blinders", parts.blinders)] {
        if fields.has(name) {
            let recorded = fields.arrays::<32>(name)?;
            for (index, (recorded, ours)) in recorded.iter().zip(&ours).enumerate() {
                found.bytes(&format!("{name}[{index}]"), recorded, ours);
            }
        }
    }
    found.recorded_bytes("filler", fields.optional_bytes("filler")?, &parts.filler);
    Ok(())
}

/// How the block was made from codec and application bytes, where that is recorded (§7.2, §7.3).
fn message(found: &mut PeerReports, profile: Profile, fields: Fields<'_>) -> Checked {
    let Some(codec) = fields.optional_text("codec")? else {
        return Ok(());
    };
    let data = fields.bytes("app_message")?;
    let block = fields.bytes("message")?;
    let BlockForm::Body(range) = block::form(profile, &block) else {
        found.fail("message", "a block with zero padding", "another block");
        return Ok(());
    };
    let body = &block[range];
    found.recorded_bytes("mix_message", fields.optional_bytes("mix_message")?, body);
    match Request::decode(&Sphinx::new(profile), body) {
        Ok(wakumix_mix::Body::Cover) if codec == COVER_CODEC => {
            cover_body(found, fields, codec, &data, body)?;
        }
        Ok(wakumix_mix::Body::Request(request)) => {
            found.value("codec", codec, request.codec);
            found.bytes("app_message", &data, request.data);
            let count = fields.optional_small::<u8>("num_surbs")?.unwrap_or(0);
            found.value("num_surbs", usize::from(count), request.surbs.len());
            found.recorded("surb_count_byte_present", fields.optional_flag("surb_count_byte_present")?, true);
            match request.encode() {
                Ok(encoded) => found.bytes("message", body, &encoded),
                Err(error) => found.fail("message", "an encoding", error),
            }
        }
        Ok(_) => found.fail("codec", codec, COVER_CODEC),
        Err(error) => found.fail("message", "a request or cover", error),
    }
    reblock(found, profile, fields, body, &block)
}

fn cover_body(found: &mut PeerReports, fields: Fields<'_>, codec: &str, data: &[u8], body: &[u8]) -> Checked {
    found.recorded("surb_count_byte_present", fields.optional_flag("surb_count_byte_present")?, false);
    found.recorded("num_surbs", fields.optional_small::<u8>("num_surbs")?, 0);
    let message = MixMessage { codec: codec.as_bytes(), rest: data };
    match message.encode() {
        Ok(encoded) => found.bytes("message", body, &encoded),
        Err(error) => found.fail("message", "an encoding", error),
    }
    Ok(())
}

/// Pads `body` again and compares the block; `seq_no` is needed in SEQ only.
pub(crate) fn reblock(
    found: &mut PeerReports,
    profile: Profile,
    fields: Fields<'_>,
    body: &[u8],
    block: &[u8],
) -> Checked {
    let sequence = sequence(profile, fields)?;
    match Sphinx::new(profile).message_block(body, sequence) {
        Ok(ours) => found.bytes("message", block, &ours),
        Err(error) => found.fail("message", "a body that fits", error),
    }
    Ok(())
}

/// The sequence field of a SEQ block; zeros, and never used, in PAD.
pub(crate) fn sequence(profile: Profile, fields: Fields<'_>) -> Result<[u8; 4], Problem> {
    match profile.block {
        wakumix_sphinx::Block::Seq => Ok(fields.small::<u32>("seq_no")?.to_be_bytes()),
        wakumix_sphinx::Block::Pad => {
            if fields.has("seq_no") {
                let number = fields.number("seq_no")?;
                return Err(Problem::new("seq_no", "null: the block is PAD", number));
            }
            Ok([0; 4])
        }
    }
}

/// `surbs`: each is created, used by an exit, carried back over every hop and opened (§9).
pub(crate) fn surbs(profile: Profile, nodes: &Nodes, value: &Value) -> SectionReport {
    each("surbs", value, |found, fields| {
        let path = nodes.path(fields)?;
        let made = create(found, profile, fields, fields.delays("delays_ms")?, &path)?;
        let hops_list = fields.list("hops")?;
        same_keys(found, &path, hops_list)?;
        let body = encode_reply(&fields.bytes("reply_app_message")?);
        let chunk: [u8; MESSAGE_LEN] = fields.array("reply_chunk")?;
        match Sphinx::new(profile).message_block(&body, sequence(profile, fields)?) {
            Ok(ours) => found.bytes("reply_chunk", &chunk, &ours),
            Err(error) => found.fail("reply_chunk", "a reply that fits", error),
        }
        let packet = fields.bytes("packet")?;
        found.bytes("packet", &packet, &use_surb(profile, &made.surb, &chunk)?);
        let arrival = Walk::new(profile).along(found, &packet, hops_list)?;
        let Some(arrival) = arrival else {
            found.fail("hops", "hops up to the sender", "none");
            return Ok(());
        };
        found.at_hop(hops_list.len().checked_sub(1));
        let opened = recover(profile, &made.credentials, arrival)?;
        found.at_hop(None);
        found.bytes("recovered_chunk", &fields.bytes("recovered_chunk")?, opened.block());
        recovered_message(found, fields, opened.body())
    })
}

/// A SURB as created, and what its creator keeps.
pub(crate) struct Made {
    pub(crate) surb: Vec<u8>,
    pub(crate) credentials: Credentials,
}

/// Creates a SURB and compares it with the recorded one.
pub(crate) fn create(
    found: &mut PeerReports,
    profile: Profile,
    fields: Fields<'_>,
    delays: [u16; 3],
    path: &[Node; 3],
) -> Result<Made, Problem> {
    let hops = hops(path, delays)?;
    let ephemeral = fields.array("ephemeral_private_key")?;
    let (id, key) = (fields.array("surb_id")?, fields.array("surb_key")?);
    let (surb, _) = Sphinx::new(profile)
        .create_surb_with(&ephemeral, &hops, SurbId::from_bytes(id), &key)
        .map_err(|error| Problem::new("surb_bytes", "a SURB that can be created", error))?;
    let bytes = surb.to_bytes();
    found.bytes("surb_bytes", &fields.bytes("surb_bytes")?, &bytes);
    found.recorded_bytes("first_hop_address_bytes", fields.optional_bytes("first_hop_address_bytes")?, &bytes[..94]);
    found.recorded_bytes("header", fields.optional_bytes("header")?, &bytes[94..718]);
    let parts = inspect::header_parts(&ephemeral, &hops)
        .map_err(|error| Problem::new("secrets", "a header that can be built", error))?;
    if fields.has("secrets") {
        let recorded = fields.arrays::<32>("secrets")?;
        for (index, (recorded, ours)) in recorded.iter().zip(&parts.secrets).enumerate() {
            found.bytes(&format!("secrets[{index}]"), recorded, ours);
        }
    }
    Ok(Made { surb: bytes, credentials: Credentials { id, key, secrets: parts.secrets } })
}

/// The packet that an exit makes of a SURB and a message block.
pub(crate) fn use_surb(profile: Profile, surb: &[u8], block: &[u8; MESSAGE_LEN]) -> Result<Vec<u8>, Problem> {
    let surb = Surb::from_bytes(surb).map_err(|error| Problem::new("surb_bytes", "a SURB that is accepted", error))?;
    let mut packet = vec![0; PACKET_LEN];
    Sphinx::new(profile)
        .use_surb_block(surb, block, &mut packet)
        .map_err(|error| Problem::new("packet", "a reply that can be built", error))?;
    Ok(packet)
}

fn recovered_message(found: &mut PeerReports, fields: Fields<'_>, body: Option<&[u8]>) -> Checked {
    let ours = body.and_then(|body| decode_reply(body).ok());
    found.recorded("recovered_mix_message_ok", fields.optional_flag("recovered_mix_message_ok")?, ours.is_some());
    found.recorded("recovered_codec", fields.optional_text("recovered_codec")?, "");
    let (Some(recorded), Some(ours)) = (fields.optional_bytes("recovered_message")?, ours) else {
        return Ok(());
    };
    if ours.is_empty() && recorded == [0] {
        // Old decoders hand out the one byte of an empty reply as content.
        found.stricter(Rule::OneByteBody);
    } else {
        found.bytes("recovered_message", &recorded, ours);
    }
    Ok(())
}
