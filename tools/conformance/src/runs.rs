//! The form of the specification's appendix A: one worked run per profile, with every intermediate value.

use serde_json::Value;
use sha2::{Digest, Sha256};
use wakumix_mix::{MixMessage, decode_reply};
use wakumix_sphinx::{MESSAGE_LEN, PrivateKey, Profile};

use crate::block::{self, BlockForm};
use crate::hops::Walk;
use crate::json::Fields;
use crate::nodes::{Node, hops, same_keys};
use crate::packets::{build, create, header_parts, reblock, use_surb};
use crate::reject::sequence;
use crate::reply::recover;
use crate::report::{PeerReports, Problem, SectionReport};
use crate::section::{Checked, one};

const TORSION: &str = "torsion_alpha_replay_at_hop_0";

/// Checks the run `name`: its forward packet, the replay with another encoding of α, and its SURB.
pub(crate) fn run(name: &str, profile: Profile, value: &Value) -> Vec<SectionReport> {
    let mut reports = Vec::new();
    let mut part = |part: &str, check: &mut dyn FnMut(&mut PeerReports) -> Checked| {
        let mut report = SectionReport::new(format!("{name}.{part}"));
        one(&mut report, part, check);
        reports.push(report);
    };
    let fields = match Fields::of(name, value) {
        Ok(fields) => fields,
        Err(problem) => return vec![SectionReport::unreadable(name, problem)],
    };
    part("packet", &mut |found| packet(found, profile, fields));
    if fields.has(TORSION) {
        part(TORSION, &mut |found| sequence(found, profile, fields.list(TORSION)?));
    }
    if let Some(value) = fields.get("surb") {
        part("surb", &mut |found| surb(found, profile, fields, Fields::of("surb", value)?));
    }
    reports
}

fn path(found: &mut PeerReports, fields: Fields<'_>) -> Result<[Node; 3], Problem> {
    let private = fields.arrays("node_private_keys")?;
    let public = fields.arrays("node_public_keys")?;
    let addresses = fields.arrays("hop_addresses")?;
    let node = |index: usize| Node { private: private[index], public: public[index], address: addresses[index] };
    for (index, (private, public)) in private.iter().zip(&public).enumerate() {
        let ours = PrivateKey::from_bytes(*private).public();
        found.bytes(&format!("node_public_keys[{index}]"), public, ours.as_bytes());
    }
    Ok([node(0), node(1), node(2)])
}

fn packet(found: &mut PeerReports, profile: Profile, fields: Fields<'_>) -> Checked {
    let path = path(found, fields)?;
    build(found, profile, fields, &path)?;
    let ephemeral = fields.array("ephemeral_private_key")?;
    let hop_list = hops(&path, fields.delays("delays_ms")?)?;
    header_parts(found, fields, &ephemeral, &hop_list)?;
    let packet = fields.bytes("packet")?;
    hash(found, fields, "packet_sha256", &packet)?;
    let hops = fields.list("hops")?;
    same_keys(found, &path, hops)?;
    Walk::new(profile).along(found, &packet, hops)?;
    packet_hashes(found, fields, hops)?;
    message(found, profile, fields)
}

fn hash(found: &mut PeerReports, fields: Fields<'_>, field: &str, bytes: &[u8]) -> Checked {
    found.recorded_bytes(field, fields.optional_bytes(field)?, &Sha256::digest(bytes));
    Ok(())
}

/// `packet_out_sha256`: hashes of what the hops send on.
fn packet_hashes(found: &mut PeerReports, fields: Fields<'_>, hops: &[Value]) -> Checked {
    if !fields.has("packet_out_sha256") {
        return Ok(());
    }
    let hashes = fields.list("packet_out_sha256")?;
    for (index, (expected, hop)) in hashes.iter().zip(hops).enumerate() {
        let name = format!("packet_out_sha256[{index}]");
        let expected = crate::json::decode_hex(&name, expected)?;
        let packet = Fields::of("hop", hop)?.bytes("packet_out")?;
        found.bytes(&name, &expected, &Sha256::digest(packet));
    }
    Ok(())
}

fn message(found: &mut PeerReports, profile: Profile, fields: Fields<'_>) -> Checked {
    let body = fields.bytes("mix_message")?;
    if let Err(error) = MixMessage::decode(&body) {
        found.fail("mix_message", "a mix message", error);
    }
    reblock(found, profile, fields, &body, &fields.bytes("message")?)
}

fn surb(found: &mut PeerReports, profile: Profile, run: Fields<'_>, fields: Fields<'_>) -> Checked {
    let path = path(found, run)?;
    let made = create(found, profile, fields, run.delays("delays_ms")?, &path)?;
    hash(found, fields, "surb_sha256", &made.surb)?;
    let block: [u8; MESSAGE_LEN] = fields.array("reply_block")?;
    let packet = fields.bytes("packet")?;
    found.bytes("packet", &packet, &use_surb(profile, &made.surb, &block)?);
    hash(found, fields, "packet_sha256", &packet)?;
    let hops = fields.list("hops")?;
    same_keys(found, &path, hops)?;
    let arrival = Walk::new(profile).along(found, &packet, hops)?;
    let arrival = arrival.ok_or_else(|| Problem::new("hops", "hops up to the sender", "none"))?;
    let opened = recover(profile, &made.credentials, arrival)?;
    found.bytes("recovered_block", &fields.bytes("recovered_block")?, opened.block());
    found.bytes("reply_block", &block, opened.block());
    match (opened.body(), block::form(profile, &block)) {
        (Some(body), BlockForm::Body(range)) => {
            found.bytes("recovered_block", &block[range], body);
            if let Err(error) = decode_reply(body) {
                found.fail("recovered_block", "a reply", error);
            }
        }
        _ => found.fail("recovered_block", "a reply that is accepted", "refused"),
    }
    Ok(())
}
