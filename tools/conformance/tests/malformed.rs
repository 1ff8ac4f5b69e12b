//! Files that are not as they should be: a clear error with its place, never a panic.

#![allow(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use serde_json::{Value, json};
use wakumix_conformance::{VectorFailure, check_file, check_str, generate, render_text};

fn file() -> Value {
    serde_json::from_str(&generate(5, "lioness/pad".parse().unwrap()).unwrap()).unwrap()
}

/// A small file: its packet sections have one or two entries each.
fn small_file() -> Value {
    let mut root = file();
    for (section, length) in [("sphinx_packets", 1), ("surbs", 1), ("aes128_ctr", 2), ("x25519", 2)] {
        root[section].as_array_mut().unwrap().truncate(length);
    }
    let reject = root["reject"].as_array_mut().unwrap();
    reject.retain(|entry| {
        let name = entry["name"].as_str().unwrap();
        ["replay at first", "live node", "reply: delta byte 0", "gamma", "zero id"]
            .iter()
            .any(|part| name.contains(part))
    });
    assert_eq!(reject.len(), 5);
    root
}

fn only_failure(root: &Value) -> VectorFailure {
    let report = check_str("vectors.json", &root.to_string());
    assert!(!report.ok());
    let failures: Vec<_> = report.failures().cloned().collect();
    assert_eq!(failures.len(), 1, "{}", render_text(&[report]));
    failures.into_iter().next().unwrap()
}

#[test]
fn what_is_no_vector_file_is_said_in_one_line() {
    for (text, part) in [
        ("", "is not JSON"),
        ("{\"meta\": ", "is not JSON: EOF"),
        ("[1, 2]", "the top level is not a JSON object"),
        ("{}", "`meta` is missing"),
        ("{\"meta\": 5}", "`meta` is not an object"),
        ("{\"meta\": {}}", "`meta.variant` and `meta.payload_cipher` are missing"),
        ("{\"meta\": {\"variant\": \"aesctr\"}}", "holds no vectors"),
        ("{\"meta\": {\"variant\": \"aesctr\"}, \"new\": [1]}", "holds no vectors"),
    ] {
        let report = check_str("some.json", text);
        assert!(!report.ok());
        let error = report.error.as_deref().unwrap();
        assert!(error.contains(part) && !error.contains('\n'), "{text}: {error}");
        let line = render_text(&[report]);
        assert!(line.starts_with("some.json") && line.contains("1 files, 1 not ok"), "{line}");
    }
}

#[test]
fn a_missing_or_unreadable_file_is_named() {
    let report = check_file("no/such/file.json");
    assert_eq!(report.file, "no/such/file.json");
    assert!(report.error.unwrap().starts_with("cannot be read: "));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("latin1.json");
    std::fs::write(&path, b"{\"meta\": \"\xe9\"}").unwrap();
    assert!(check_file(&path).error.unwrap().starts_with("is not JSON, which is UTF-8: "));
}

/// One MiB of zeros as xz makes it.
const MEBIBYTE: &str = "fd377a585a0000016922de360200210110000000a8708e86efffff00d95d00006ffdffffa3b7ff473e481572396151b89228e6a3860\
    7f9eee41e82d32fc53a3c014bb17ec98a8a4d2fa30dd97fa6e38c231153e05918c5758ae277f8b6947f0c6ac0de744964e2e95c53b204d8f7440cab5f\
    0d6d46e9e5c37688b79657acb64de1691d6ffb4b88106c42cb883f5c008fd04eaf262894711f3d8f24e1709ea7235fec28cb85d195988a7e2a91f22775\
    f719c006984d98fdd8afd5900fc42553f8f591363105a5b0ee6fc1704d470cd19111aaad601dbaceb127185c5986e9665258bee976ac59e4e55b0508f9\
    c7daadfcfb522af7e4952500000000001cea38a70001f101808040006fd5eedc3e300d8b020000000001595a";

/// `{}`, from an encoder that says that its reader needs 1 GiB of memory.
const GIBIBYTE_DICTIONARY: &str = "fd377a585a0000016922de3602002101240000005e1fc7f90100017b7d00000043bfa6a300011602d06110d29042990d01\
    0000000001595a";

#[test]
fn a_damaged_or_huge_xz_file_is_an_error_that_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vectors.json.xz");
    let error_of = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        check_file(&path).error.unwrap()
    };
    let good = hex::decode(MEBIBYTE).unwrap();
    assert!(error_of(&good).starts_with("is not JSON: "));

    let mut damaged = good.clone();
    damaged[100] ^= 1;
    let trailing = [&good[..], b"more"].concat();
    for bytes in [&good[..good.len() - 1], &good[..20], &good[..6], &damaged, &trailing] {
        let error = error_of(bytes);
        assert!(error.starts_with("cannot be unpacked as xz: "), "{error}");
    }
    let error = error_of(&hex::decode(GIBIBYTE_DICTIONARY).unwrap());
    assert!(error.starts_with("cannot be unpacked as xz: ") && error.contains("limit"), "{error}");
    let error = error_of(&good.repeat(65));
    assert!(error.contains("more than 64 MiB"), "{error}");
}

#[test]
fn a_missing_field_is_named_with_its_place() {
    let mut root = file();
    root["kdf"][3].as_object_mut().unwrap().remove("secret");
    let failure = only_failure(&root);
    assert_eq!(failure.location(), "kdf, entry 3 (aes_key), field secret");
    assert_eq!((failure.expected.as_str(), failure.got.as_str()), ("bytes in hex", "nothing: the field is missing"));
}

#[test]
fn truncated_hex_wrong_lengths_and_wrong_types_are_named_with_their_place() {
    let cases: [(&str, Value, &str, &str, &str); 8] = [
        ("/hmac_sha256_128/1/data", json!("abc"), "data", "bytes in hex", "Odd number of digits"),
        ("/hmac_sha256_128/1/data", json!("zz"), "data", "bytes in hex", "Invalid character"),
        ("/hmac_sha256_128/1/key", json!("abcd"), "key", "16 bytes", "2 bytes"),
        ("/hmac_sha256_128/1/key", json!(7), "key", "bytes in hex", "the number 7"),
        ("/hmac_sha256_128/1", json!([1]), "entry", "an object", "a list of 1"),
        ("/hmac_sha256_128", json!({ "a": 1 }), "hmac_sha256_128", "a list", "an object of 1 fields"),
        ("/sphinx_packets/0/path", json!(["node0"]), "path", "a list of 3, one per hop", "a list of 1"),
        ("/sphinx_packets/0/path/1", json!("node99"), "path[1]", "the label of a valid entry of `nodes`", "node99"),
    ];
    for (pointer, value, field, expected, got) in cases {
        let mut root = file();
        *root.pointer_mut(pointer).unwrap() = value;
        let failure = only_failure(&root);
        assert_eq!((failure.field.as_str(), failure.expected.as_str()), (field, expected), "{pointer}");
        assert!(failure.got.contains(got), "{pointer}: {}", failure.got);
    }
}

#[test]
fn unknown_sections_are_counted_and_unknown_fields_tolerated() {
    let mut root = file();
    let before = check_str("file", &root.to_string()).totals();
    root["new_section"] = json!([1, 2, 3]);
    root["multiaddr"]["normalise"] = json!([{}]);
    root["constants"]["new_size"] = json!(1);
    root["kdf"][0]["new_field"] = json!({ "deep": [null] });
    root["reject"].as_array_mut().unwrap().push(json!({ "name": "something else" }));
    root["sphinx_packets"][0]["hops"][2]["status"] = json!("parked");
    let report = check_str("file", &root.to_string());
    assert!(report.ok(), "{}", render_text(&[report]));
    let after = report.totals();
    // The packet with the new status counts as not checked instead of passed.
    assert_eq!((after.passed, after.not_checked), (before.passed - 1, 3 + 1 + 1 + 1 + 1));
    let text = render_text(&[report]);
    assert!(text.contains("not checked: new_section, section of unknown kind"), "{text}");
    assert!(text.contains("status \"parked\" is not known"), "{text}");
}

/// Every place of a small file is replaced by a value of every kind.
#[test]
fn nothing_panics_whatever_stands_where() {
    let root = small_file();
    let mut places = Vec::new();
    collect(&root, String::new(), &mut places);
    let odd = [Value::Null, json!(-1), json!(1.5), json!(u64::MAX), json!("ff"), json!([[]]), json!({ "a": {} })];
    // Each round puts odd values at many places at once; together the rounds visit every place.
    let rounds = places.len().min(60);
    for round in 0..rounds {
        let mut broken = root.clone();
        for (index, place) in places.iter().enumerate().filter(|(index, _)| index % rounds == round) {
            if let Some(value) = broken.pointer_mut(place) {
                *value = odd[(index / rounds) % odd.len()].clone();
            }
        }
        let report = check_str("broken", &broken.to_string());
        assert!(!report.ok());
    }
}

fn collect(value: &Value, pointer: String, places: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (name, inner) in map.iter().filter(|(name, _)| *name != "meta") {
                collect(inner, format!("{pointer}/{name}"), places);
            }
        }
        Value::Array(list) => {
            for (index, inner) in list.iter().enumerate() {
                collect(inner, format!("{pointer}/{index}"), places);
            }
        }
        _ => {}
    }
    if !pointer.is_empty() {
        places.push(pointer);
    }
}

#[test]
fn deep_nesting_is_an_error() {
    let text = format!("{{\"meta\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(check_str("deep", &text).error.unwrap().contains("recursion limit"));
}
