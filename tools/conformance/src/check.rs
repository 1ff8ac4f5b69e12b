//! Checks whole files: finds the profile, walks the sections that are known, counts the others.

use std::path::Path;

use serde_json::Value;
use wakumix_sphinx::Profile;

use crate::file::read_text;
use crate::meta::{Form, form};
use crate::nodes::Nodes;
use crate::report::{FileReport, SectionReport};
use crate::section::{parts, unknown};
use crate::{fragments, messages, nodes, packets, primitives, reject, runs};

/// Checks the vector file at `path`, plain or compressed with xz. Never fails as such: what cannot be read is the report's `error`.
pub fn check_file(path: impl AsRef<Path>) -> FileReport {
    let path = path.as_ref();
    let name = path.display().to_string();
    match read_text(path) {
        Ok(text) => check_str(&name, &text),
        Err(error) => without_sections(&name, error),
    }
}

/// Checks vectors given as JSON text; `name` is what the report calls them.
pub fn check_str(name: &str, json: &str) -> FileReport {
    let root: Value = match serde_json::from_str(json) {
        Ok(root) => root,
        Err(error) => return without_sections(name, format!("is not JSON: {error}")),
    };
    check_value(name, &root)
}

fn check_value(name: &str, root: &Value) -> FileReport {
    let mut report = without_sections(name, String::new());
    let (profiles, sections) = match form(root) {
        Err(error) => {
            report.error = Some(error);
            return report;
        }
        Ok(Form::Sections(profile)) => (vec![profile], of_sections(profile, root)),
        Ok(Form::Runs(found)) => {
            let profiles = found.iter().map(|(_, profile)| *profile).collect();
            (profiles, of_runs(&found, root))
        }
    };
    report.profiles = profiles.iter().map(Profile::to_string).collect();
    report.error = sections
        .iter()
        .all(|section| section.passed + section.failed + section.stricter == 0)
        .then(|| "holds no vectors that this checker knows".to_owned());
    report.sections = sections;
    report
}

fn without_sections(name: &str, error: String) -> FileReport {
    FileReport { file: name.to_owned(), profiles: Vec::new(), error: Some(error), sections: Vec::new() }
}

fn of_sections(profile: Profile, root: &Value) -> Vec<SectionReport> {
    let known_nodes = Nodes::read(root.get("nodes"));
    let mut reports = Vec::new();
    let mut others = Vec::new();
    let named = root.as_object().into_iter().flatten();
    for (name, value) in named.filter(|(name, _)| *name != "meta") {
        match section(profile, &known_nodes, root, name, value) {
            Some((rank, found)) => reports.push((rank, found)),
            None => others.push(unknown(name, value)),
        }
    }
    reports.sort_by_key(|(rank, _)| *rank);
    let known = reports.into_iter().flat_map(|(_, found)| found);
    known.chain(others).collect()
}

/// Checks one section; its rank is its place in the report. `None` for a section of unknown name.
fn section(
    profile: Profile,
    known_nodes: &Nodes,
    root: &Value,
    name: &str,
    value: &Value,
) -> Option<(usize, Vec<SectionReport>)> {
    let single = |rank, report| Some((rank, vec![report]));
    match name {
        "constants" => single(0, nodes::constants(profile, value)),
        "nodes" => single(1, nodes::nodes(value)),
        "kdf" => single(2, primitives::kdf(value)),
        "aes128_ctr" => single(3, primitives::aes_ctr(value)),
        "aes128_ctr_start_index" => single(4, primitives::aes_ctr_seek(value)),
        "hmac_sha256_128" => single(5, primitives::mac(value)),
        "x25519" => single(6, primitives::x25519(value)),
        "blinder" => single(7, primitives::blinder(value)),
        "lioness_kdf" => single(8, primitives::lioness_kdf(value)),
        "lioness" => single(9, primitives::lioness(value)),
        "lioness_stream" => single(10, primitives::lioness_stream(value)),
        "lioness_hash" => single(11, primitives::lioness_hash(value)),
        "lioness_reject" => single(12, primitives::lioness_reject(value)),
        "multiaddr" => Some((
            13,
            parts(name, value, |part, value| match part {
                "encode" => Some(messages::address_encode(value)),
                "decode" => Some(messages::address_decode(value)),
                _ => None,
            }),
        )),
        "mix_message" => Some((
            14,
            parts(name, value, |part, value| match part {
                "serialize" => Some(messages::serialize(profile, value)),
                "deserialize" => Some(messages::deserialize(value)),
                _ => None,
            }),
        )),
        "fragmentation" => Some((15, fragments::fragmentation(profile, value))),
        "surbs" => single(16, packets::surbs(profile, known_nodes, value)),
        "surb_payload" => Some((17, messages::surb_payload(value, root.get("surbs")))),
        "sphinx_packets" => single(18, packets::forward(profile, known_nodes, value)),
        "reject" => single(19, reject::reject(profile, known_nodes, value)),
        _ => None,
    }
}

fn of_runs(found: &[(&str, Profile)], root: &Value) -> Vec<SectionReport> {
    let mut reports = Vec::new();
    for (name, value) in root.as_object().into_iter().flatten() {
        match found.iter().find(|(known, _)| known == name) {
            Some((_, profile)) => reports.extend(runs::run(name, *profile, value)),
            None if name == "meta" => {}
            None => reports.push(unknown(name, value)),
        }
    }
    reports
}
