//! The repository's own vectors, and the generator that writes them.

#![allow(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::path::{Path, PathBuf};

use wakumix_conformance::{FileReport, check_file, check_str, generate, render_text};

/// The seed of the files in the repository; their README names it too.
const SEED: u64 = 1;

const FILES: [(&str, &str); 3] =
    [("aesctr.json", "aes-ctr/seq"), ("lip183-seq.json", "lioness/seq"), ("lip183-pad.json", "lioness/pad")];

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors").join(name)
}

fn written(seed: u64, profile: &str) -> String {
    generate(seed, profile.parse().unwrap()).unwrap()
}

/// All entries of a file of ours pass: none is stricter, none is left out.
fn assert_all_pass(report: &FileReport) {
    let totals = report.totals();
    let text = render_text(std::slice::from_ref(report));
    assert!(report.ok(), "{text}");
    assert_eq!((totals.failed, totals.stricter, totals.not_checked), (0, 0, 0), "{text}");
    assert!(totals.passed > 150, "{text}");
}

#[test]
fn the_files_of_the_repository_pass() {
    for (name, profile) in FILES {
        let report = check_file(path(name));
        assert_all_pass(&report);
        assert_eq!(report.profiles, [profile]);
    }
}

#[test]
fn the_files_of_the_repository_are_written_again_byte_for_byte() {
    for (name, profile) in FILES {
        let file = std::fs::read_to_string(path(name)).unwrap();
        // Not `assert_eq`: it would print both files.
        assert!(file == written(SEED, profile), "{name} is not what seed {SEED} gives");
    }
}

#[test]
fn files_of_other_seeds_and_profiles_pass() {
    let seed: u64 = std::process::id().into();
    for profile in ["aes-ctr/seq", "lioness/seq", "lioness/pad", "aes-ctr/pad", "lioness/pad/301"] {
        println!("seed {seed}, profile {profile}");
        assert_all_pass(&check_str(profile, &written(seed, profile)));
    }
}

#[test]
fn generation_depends_on_seed_and_profile_alone() {
    assert!(written(9, "lioness/pad") == written(9, "lioness/pad"));
    assert!(written(9, "lioness/pad") == written(9, "lioness/pad/301"));
    assert!(written(9, "lioness/pad") != written(10, "lioness/pad"));
    assert!(written(9, "lioness/pad") != written(9, "lioness/seq"));
}

#[test]
fn a_file_of_one_profile_fails_as_another() {
    for (from, to) in [("lip183-pad", "lip183-seq"), ("lip183-seq", "lip183-pad")] {
        let mut file: serde_json::Value =
            serde_json::from_str(&written(SEED, &from.replace("lip183-", "lioness/"))).unwrap();
        file["meta"] = serde_json::json!({ "variant": to });
        let report = check_str("other", &file.to_string());
        let packets = report.sections.iter().find(|section| section.name == "fragmentation.pad").unwrap();
        assert!(!report.ok() && packets.failed > 0, "{from} as {to}");
    }
}
