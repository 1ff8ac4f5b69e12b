//! The checker can fail: a flipped hex digit, a changed number or flag anywhere in a file is found, at its place.

#![allow(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use serde_json::{Map, Value, json};
use wakumix_conformance::{check_str, generate};

mod support;

use support::{Leaf, leaves, mutate};

/// Fields that say nothing about bytes.
const WORDS: [&str; 5] = ["name", "label", "note", "seed_label", "first_status"];

/// Fields that hold what was computed, not what it was computed from: a change is reported under their own name.
const RESULTS: [&str; 18] = [
    "output",
    "base_output",
    "packet_out",
    "shared_secret",
    "replay_tag",
    "blinder",
    "next_hop_address_bytes",
    "delay_ms",
    "destination_address_bytes",
    "delta_prime",
    "surb_bytes",
    "header",
    "first_hop_address_bytes",
    "filler",
    "mix_public_key",
    "k3",
    "seed",
    "recovered_chunk",
];

/// Sections as lists: `multiaddr.encode` is `/multiaddr/encode`.
fn sections(root: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (name, value) in root.as_object().unwrap() {
        match value {
            Value::Array(_) => found.push((name.clone(), format!("/{name}"))),
            Value::Object(parts) if name != "meta" && name != "constants" => {
                let lists = parts.iter().filter(|(_, part)| part.is_array());
                found.extend(lists.map(|(part, _)| (format!("{name}.{part}"), format!("/{name}/{part}"))));
            }
            _ => {}
        }
    }
    found
}

/// A file that holds only the entry `index` of one section, at its place, and what its check needs.
fn excerpt(root: &Value, pointer: &str, index: usize, entry: &Value) -> String {
    let list = root.pointer(pointer).unwrap().as_array().unwrap();
    let mut only = vec![Value::Null; list.len()];
    only[index] = entry.clone();
    let mut file = Map::new();
    file.insert("meta".to_owned(), root["meta"].clone());
    let names: Vec<_> = pointer[1..].split('/').collect();
    let needed: &[&str] = match names[0] {
        "surb_payload" => &["surbs"],
        "surbs" | "sphinx_packets" | "reject" => &["nodes"],
        _ => &[],
    };
    for name in needed {
        file.insert((*name).to_owned(), root[*name].clone());
    }
    match names[..] {
        [name] => file.insert(name.to_owned(), only.into()),
        [name, part] => file.insert(name.to_owned(), json!({ part: only })),
        _ => unreachable!(),
    };
    Value::Object(file).to_string()
}

/// Inputs of entries that record a refusal or an empty result, where another input gives the same.
fn is_indifferent(section: &str, entry: &Value, leaf: &Leaf) -> bool {
    let text = |field: &str| entry[field].as_str();
    let refused = entry["ok"] == false || entry["process_reply_ok"] == false;
    let empty = text("data") == Some("") && matches!(leaf.field.as_str(), "key" | "iv");
    let low_order = section == "x25519"
        && leaf.field == "scalar"
        && text("output").is_some_and(|output| output.bytes().all(|digit| digit == b'0'));
    let damaged = section == "reject" && !RESULTS.contains(&leaf.field.as_str());
    let input = matches!(leaf.field.as_str(), "bytes" | "payload" | "chunk" | "message" | "secrets" | "seq_no");
    // The last hop applies no delay, and its field is not on the wire.
    let last_delay = leaf.pointer == "/delays_ms/2";
    empty || low_order || last_delay || damaged || (refused && input)
}

/// Whether a change of this field shows under its own name: in these places it is an input.
fn is_result(section: &str, leaf: &Leaf) -> bool {
    let input = match leaf.field.as_str() {
        "shared_secret" | "destination_address_bytes" => leaf.hop.is_none(),
        "seed" => section == "lioness",
        _ => false,
    };
    !input && RESULTS.contains(&leaf.field.as_str())
}

/// Sections where a changed entry may become one that we refuse by a rule.
const MAY_BE_STRICTER: [&str; 2] = ["fragmentation.decode_cases", "surb_payload.extract_cases"];

/// Changes every `step`-th place of a file and expects each change to be reported.
fn changes_of(profile: &str, step: usize) {
    let root: Value = serde_json::from_str(&generate(3, profile.parse().unwrap()).unwrap()).unwrap();
    let mut missed = Vec::new();
    let (mut seen, mut tried) = (0, 0);
    for (section, pointer) in sections(&root) {
        for (index, entry) in root.pointer(&pointer).unwrap().as_array().unwrap().iter().enumerate() {
            let mut found = Vec::new();
            leaves(entry, "", "", None, &mut found);
            for leaf in found {
                let mut changed = entry.clone();
                if WORDS.contains(&leaf.field.as_str())
                    || is_indifferent(&section, entry, &leaf)
                    || !mutate(changed.pointer_mut(&leaf.pointer).unwrap())
                {
                    continue;
                }
                seen += 1;
                if seen % step != 0 {
                    continue;
                }
                tried += 1;
                let report = check_str("mutated", &excerpt(&root, &pointer, index, &changed));
                let here = |failure: &&wakumix_conformance::VectorFailure| {
                    failure.section == section && failure.entry == Some(index)
                };
                let named = is_result(&section, &leaf);
                let right = |failure: &wakumix_conformance::VectorFailure| {
                    !named || (failure.hop == leaf.hop && failure.field == leaf.field)
                };
                let stricter = MAY_BE_STRICTER.contains(&section.as_str()) && report.totals().stricter > 0;
                if !stricter && !report.failures().filter(here).any(right) {
                    missed.push(format!("{section} entry {index} {}", leaf.pointer));
                }
            }
        }
    }
    assert!(tried * step > 900, "only {tried} places were changed");
    assert!(
        missed.is_empty(),
        "{} of {tried} changes were not reported in place:\n{}",
        missed.len(),
        missed.join("\n")
    );
}

#[test]
fn every_change_of_a_lioness_pad_file_is_reported_in_place() {
    changes_of("lioness/pad", 1);
}

#[test]
fn changes_of_an_aes_file_are_reported_in_place() {
    changes_of("aes-ctr/seq", 7);
}

#[test]
fn changes_of_a_lioness_seq_file_are_reported_in_place() {
    changes_of("lioness/seq", 7);
}

#[test]
fn a_changed_constant_is_reported_by_its_name() {
    let mut root: Value = serde_json::from_str(&generate(3, "lioness/pad".parse().unwrap()).unwrap()).unwrap();
    root["constants"]["surb_size"] = json!(735);
    let report = check_str("mutated", &root.to_string());
    let failure = report.failures().next().unwrap();
    assert_eq!(
        (failure.section.as_str(), failure.name.as_deref(), failure.expected.as_str(), failure.got.as_str()),
        ("constants", Some("surb_size"), "735", "734")
    );
    assert_eq!(report.totals().failed, 1);
}

#[test]
fn a_changed_packet_names_entry_hop_field_and_byte() {
    let mut root: Value = serde_json::from_str(&generate(3, "lioness/pad".parse().unwrap()).unwrap()).unwrap();
    let field = root.pointer_mut("/sphinx_packets/2/hops/1/packet_out").unwrap();
    let mut packet = hex::decode(field.as_str().unwrap()).unwrap();
    packet[2000] ^= 1;
    *field = hex::encode(&packet).into();
    let report = check_str("mutated", &root.to_string());
    let failure = report.failures().next().unwrap();
    let place = failure.location();
    assert!(place.starts_with("sphinx_packets, entry 2 ("), "{place}");
    assert!(place.ends_with("hop 1, field packet_out"), "{place}");
    assert_eq!(failure.differs_at, Some(2000));
    assert!(failure.expected.contains("[2000]") && failure.expected.ends_with("(4608 bytes)"), "{}", failure.expected);
}
