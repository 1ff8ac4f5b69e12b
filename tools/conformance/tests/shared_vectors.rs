//! The vectors of the compiled reference, where they stand beside the repository.

#![allow(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use wakumix_conformance::{FileReport, Rule, check_file, check_str, render_text};

mod support;

use support::{leaves, mutate};

/// Set to 1 where the vectors have to be there.
const REQUIRE: &str = "REQUIRE_SHARED_VECTORS";

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        let required = std::env::var(REQUIRE).is_ok_and(|value| value == "1");
        assert!(!required, "{REQUIRE}=1, but {} cannot be read", folder.display());
        println!("not run: {} is not there", folder.display());
        return Vec::new();
    };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "json")).collect()
}

#[test]
fn every_vector_of_the_reference_holds() {
    let reports: Vec<_> = files().iter().map(check_file).collect();
    let text = render_text(&reports);
    println!("{text}");
    assert!(reports.iter().all(FileReport::ok), "{text}");
    let not_checked: usize = reports.iter().map(|report| report.totals().not_checked).sum();
    assert_eq!(not_checked, 0, "{text}");
}

#[test]
fn each_rule_is_stricter_where_the_reference_is_known_to_be_lax() {
    let expected: [(&str, &[(Rule, usize)]); 4] = [
        ("libp2p-mix-appendix-a.json", &[(Rule::SecretTag, 1)]),
        (
            "libp2p-mix-aesctr.json",
            &[
                (Rule::RandomSequence, 8),
                (Rule::CanonicalAlpha, 2),
                (Rule::NonZeroAlpha, 2),
                (Rule::TagAfterMac, 1),
                (Rule::ReplyPrefix, 1),
                (Rule::OneByteBody, 7),
                (Rule::CodecLength, 4),
            ],
        ),
        ("libp2p-mix-lip183-seq.json", &[(Rule::CanonicalAlpha, 1), (Rule::NonZeroAlpha, 2), (Rule::ZeroPadding, 3)]),
        ("libp2p-mix-lip183-pad.json", &[(Rule::TransportByte, 2), (Rule::AddressPeer, 1), (Rule::NoAddress, 1)]),
    ];
    for path in files() {
        let name = path.file_name().unwrap().to_string_lossy();
        let rules = check_file(&path).rules();
        for (_, wanted) in expected.iter().filter(|(file, _)| *file == name) {
            for (rule, count) in *wanted {
                assert_eq!(rules.get(rule), Some(count), "{name}: {rule}");
            }
        }
    }
}

/// What a hop records of a packet; a change shows under the field's own name and at its hop.
const HOP_RESULTS: [&str; 10] = [
    "shared_secret",
    "replay_tag",
    "blinder",
    "next_hop_address_bytes",
    "delay_ms",
    "packet_out",
    "destination_address_bytes",
    "message",
    "surb_id",
    "delta_prime",
];

/// The files `{meta, nodes, reject: [entry]}` and `{meta, run}` of a vector file.
fn excerpts(root: &Value) -> Vec<Value> {
    let mut files = Vec::new();
    for entry in root["reject"].as_array().into_iter().flatten() {
        files.push(json!({ "meta": root["meta"], "nodes": root["nodes"], "reject": [entry] }));
    }
    for name in ["aesctr-seq", "lip183-seq", "lip183-pad"] {
        if let Some(run) = root.get(name) {
            let mut file = json!({ "meta": {} });
            file[name] = run.clone();
            files.push(file);
        }
    }
    files
}

/// Where we refuse what the reference took, what it took is still compared.
#[test]
fn every_recorded_value_of_every_hop_is_compared_also_where_we_are_stricter() {
    let mut missed = Vec::new();
    for path in files() {
        let root: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        for file in excerpts(&root) {
            let mut found = Vec::new();
            leaves(&file, "", "", None, &mut found);
            found.retain(|leaf| leaf.hop.is_some() && HOP_RESULTS.contains(&leaf.field.as_str()));
            for leaf in found {
                let mut changed = file.clone();
                assert!(mutate(changed.pointer_mut(&leaf.pointer).unwrap()));
                let report = check_str("changed", &changed.to_string());
                let mut failures = report.failures();
                if !failures.any(|failure| failure.hop == leaf.hop && failure.field == leaf.field) {
                    missed.push(format!("{} {} {}", path.display(), file["reject"][0]["name"], leaf.pointer));
                }
            }
        }
    }
    assert!(missed.is_empty(), "not reported:\n{}", missed.join("\n"));
}
