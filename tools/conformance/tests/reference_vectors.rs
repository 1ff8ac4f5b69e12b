//! The vectors of the compiled reference, `vectors/reference`.

#![allow(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use wakumix_conformance::{FileReport, Rule, check_file, check_str, read_text, render_text};

mod support;

use support::{leaves, mutate};

/// The files, and the SHA-256 of each as the reference's generator wrote it; `vectors/README.md` has them too.
const FILES: [(&str, &str); 4] = [
    ("libp2p-mix-aesctr.json", "4ca21ba22d950033db0d993df3e9a739d9bedfd50a3f513d7bb874b3f8c4575a"),
    ("libp2p-mix-appendix-a.json", "15406770d5748652925cb315521b53a7d19634d21e727486963104cc02627891"),
    ("libp2p-mix-lip183-pad.json", "fe548c4b8694af8661e866eb1972232c9c6ee056229af5e3c6b092ba90dafb10"),
    ("libp2p-mix-lip183-seq.json", "ec460e55a8dc89db247f45a00700320bd7f116b8578f7df18d8b9325ff653e81"),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors/reference")
}

fn path(name: &str) -> PathBuf {
    folder().join(format!("{name}.xz"))
}

#[test]
fn the_files_are_those_that_the_reference_wrote() {
    for (name, digest) in FILES {
        let text = read_text(path(name)).unwrap();
        assert_eq!(hex::encode(Sha256::digest(text)), digest, "{name}");
    }
    let listed: BTreeSet<_> = FILES.iter().map(|(name, _)| format!("{name}.xz").into()).collect();
    let there: BTreeSet<_> = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(there, listed, "a file without a digest here, or a digest without its file");
}

#[test]
fn every_vector_of_the_reference_holds() {
    let reports: Vec<_> = FILES.iter().map(|(name, _)| check_file(path(name))).collect();
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
    for (name, wanted) in expected {
        let rules = check_file(path(name)).rules();
        for (rule, count) in wanted {
            assert_eq!(rules.get(rule), Some(count), "{name}: {rule}");
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
    for (name, _) in FILES {
        let root: Value = serde_json::from_str(&read_text(path(name)).unwrap()).unwrap();
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
                    missed.push(format!("{name} {} {}", file["reject"][0]["name"], leaf.pointer));
                }
            }
        }
    }
    assert!(missed.is_empty(), "not reported:\n{}", missed.join("\n"));
}
