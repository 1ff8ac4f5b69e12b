//! `reject`: packets that are damaged, replayed, forged or otherwise out of order (§10, §15, §21).

use serde_json::Value;
use wakumix_mix::ReplayTags;
use wakumix_sphinx::{PrivateKey, Profile, Sphinx, SurbId};

use crate::hops::{Arrival, Seen, Walk, process};
use crate::json::Fields;
use crate::nodes::{Node, Nodes, hops};
use crate::reply::{Credentials, recover};
use crate::report::{PeerReports, Problem, SectionReport};
use crate::rules::Rule;
use crate::section::{Checked, each};

/// More tags than any entry has packets.
const TAGS: usize = 1024;

/// Checks every entry by what it holds.
pub(crate) fn reject(profile: Profile, nodes: &Nodes, value: &Value) -> SectionReport {
    each("reject", value, |found, fields| {
        if fields.has("sequence") {
            sequence(found, profile, fields.list("sequence")?)
        } else if fields.has("packet_bad") {
            live_order(found, profile, nodes, fields)
        } else if fields.has("packet") {
            packet(found, profile, fields)
        } else if fields.text("name")?.contains("zero id") {
            zero_id(found, profile, fields)
        } else {
            found.skip("case of unknown kind");
            Ok(())
        }
    })
}

/// Packets one after the other at nodes that share one store of replay tags.
pub(crate) fn sequence(found: &mut PeerReports, profile: Profile, steps: &[Value]) -> Checked {
    let mut tags = ReplayTags::new(TAGS);
    let mut walk = Walk::with_tags(profile, &mut tags);
    for (index, step) in steps.iter().enumerate() {
        found.at_hop(Some(index));
        let fields = Fields::of("sequence", step)?;
        walk.hop(found, fields, &fields.bytes("packet_in")?)?;
    }
    found.at_hop(None);
    Ok(())
}

/// A damaged copy first, then the packet itself, at a node that asks its replay store as the live reference does.
fn live_order(found: &mut PeerReports, profile: Profile, nodes: &Nodes, fields: Fields<'_>) -> Checked {
    let (bad, good) = (fields.bytes("packet_bad")?, fields.bytes("packet_good")?);
    let opens = |node: &&Node| Sphinx::new(profile).authenticate(&PrivateKey::from_bytes(node.private), &good).is_ok();
    let Some(node) = nodes.all().find(opens) else {
        found.fail("packet_good", "a packet for one of the nodes", "a packet that none can open");
        return Ok(());
    };
    let mut tags = ReplayTags::new(TAGS);
    let first = process(profile, &node.private, &bad, Some(&mut tags));
    found.value("first_is_replay", fields.flag("first_is_replay")?, matches!(first, Seen::Duplicate));
    if let Some(status) = fields.optional_text("first_status")? {
        let ours = live_status(&first);
        // Our checks of α come before the MAC; old references have none.
        let earlier = status == "InvalidMAC" && ours == "Error";
        if !earlier {
            found.value("first_status", status, ours);
        }
    }
    let second = process(profile, &node.private, &good, Some(&mut tags));
    let replay = matches!(second, Seen::Duplicate);
    let recorded = fields.flag("second_is_replay")?;
    // A damaged copy must not use up the tag of the packet; old references store the tag before they check the MAC.
    let bad_copy = matches!(first, Seen::Refused(_)) && bad.get(..32) == good.get(..32);
    found.value("second_is_replay", recorded && !bad_copy, replay);
    if recorded && bad_copy {
        found.stricter(Rule::TagAfterMac);
    }
    Ok(())
}

/// The reference's names for what its packet code returns.
fn live_status(seen: &Seen) -> &'static str {
    match seen {
        Seen::Forward { .. } => "Intermediate",
        Seen::Exit { .. } => "Exit",
        Seen::Reply { .. } => "Reply",
        Seen::Duplicate => "Duplicate",
        Seen::Refused(wakumix_sphinx::Reject::Mac) => "InvalidMAC",
        Seen::Refused(_) => "Error",
    }
}

/// One packet along its hops; for replies, what becomes of it at the sender.
fn packet(found: &mut PeerReports, profile: Profile, fields: Fields<'_>) -> Checked {
    let hops = fields.list("hops")?;
    let arrival = Walk::new(profile).along(found, &fields.bytes("packet")?, hops)?;
    for (whole, part) in [("final_status", "status"), ("final_error", "error")] {
        if let Some(text) = fields.optional_text(whole)? {
            let last = hops.last().and_then(|hop| hop.get(part)?.as_str());
            found.value(whole, text, last.unwrap_or_default());
        }
    }
    match (fields.optional_flag("process_reply_ok")?, arrival) {
        (Some(ok), Some(arrival)) => reply(found, profile, fields, ok, arrival),
        (Some(_), None) => {
            found.fail("hops", "hops up to the sender", "none");
            Ok(())
        }
        (None, _) => Ok(()),
    }
}

fn reply(found: &mut PeerReports, profile: Profile, fields: Fields<'_>, accepted: bool, arrival: Arrival) -> Checked {
    let Seen::Reply { id, .. } = arrival.seen else {
        return Err(Problem::new("status", "a reply", arrival.seen.text()));
    };
    let credentials = Credentials { id, key: fields.array("surb_key")?, secrets: fields.arrays("secrets")? };
    let opened = recover(profile, &credentials, arrival)?;
    if !accepted {
        found.value("process_reply_ok", false, opened.body().is_some());
        return Ok(());
    }
    found.bytes("recovered_chunk", &fields.bytes("recovered_chunk")?, opened.block());
    match (opened.refusal(), opened.refusal_rule()) {
        (Some(_), Some(Some(rule))) => found.stricter(rule),
        (Some(_), Some(None)) | (None, None) => {}
        (Some(refusal), None) => found.fail("process_reply_ok", true, format!("refused: {refusal}")),
        (None, Some(_)) => found.fail("recovered_chunk", "refused: it is not as §7 says", "accepted"),
    }
    Ok(())
}

/// A SURB whose id is all zero would be taken for a forward packet.
fn zero_id(found: &mut PeerReports, profile: Profile, fields: Fields<'_>) -> Checked {
    let private = [1; 32];
    let node = Node { private, public: *PrivateKey::from_bytes(private).public().as_bytes(), address: [1; 94] };
    let path = hops(&[node; 3], [0; 3])?;
    let id = SurbId::from_bytes([0; 16]);
    let created = Sphinx::new(profile).create_surb_with(&[1; 32], &path, id, &[1; 16]);
    found.value("ok", fields.flag("ok")?, created.is_ok());
    Ok(())
}
