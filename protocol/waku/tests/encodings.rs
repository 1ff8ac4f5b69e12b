//! What the Nim nodes take for a message is taken here, and nothing else (`vectors/README.md`).
#![allow(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use serde::Deserialize;
use wakumix_waku::{DecodeError, WakuMessage};

const TABLE: &str = include_str!("../vectors/message-encodings.json");

#[derive(Deserialize)]
struct Row {
    name: String,
    bytes: String,
    /// `None` where the Nim nodes refuse it.
    message: Option<Fields>,
}

#[derive(Deserialize)]
struct Fields {
    payload: String,
    content_topic: String,
    version: u32,
    timestamp: i64,
    meta: String,
    proof: String,
    ephemeral: bool,
}

fn bytes(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}

fn table() -> Vec<Row> {
    serde_json::from_str(TABLE).unwrap()
}

#[test]
fn takes_every_encoding_that_the_nim_nodes_take_and_no_other() {
    for Row { name, bytes: encoded, message } in table() {
        let found = WakuMessage::decode(&bytes(&encoded));
        let Some(fields) = message else {
            assert!(!matches!(found, Ok(_) | Err(DecodeError::NotText(_))), "{name}: {found:?}");
            continue;
        };
        match String::from_utf8(bytes(&fields.content_topic)) {
            // Known to be one that they take; nobody here can read its topic.
            Err(_) => assert_eq!(found, Err(DecodeError::NotText("content_topic")), "{name}"),
            Ok(content_topic) => {
                let expected = WakuMessage {
                    payload: bytes(&fields.payload),
                    content_topic,
                    version: fields.version,
                    timestamp: Some(fields.timestamp).filter(|&nanoseconds| nanoseconds != 0),
                    meta: bytes(&fields.meta),
                    rate_limit_proof: bytes(&fields.proof),
                    ephemeral: fields.ephemeral,
                };
                assert_eq!(found, Ok(expected), "{name}");
            }
        }
    }
}

#[test]
fn the_table_has_every_field_in_every_wire_type() {
    let table = table();
    assert_eq!(table.len(), 270);
    for field in [1, 2, 3, 10, 11, 21, 31] {
        for wire_type in 0..8 {
            let words = [format!("field {field} "), format!("wire type {wire_type}")];
            let has = |row: &Row| words.iter().all(|word| row.name.contains(word));
            assert!(table.iter().any(has), "field {field} in wire type {wire_type}");
        }
    }
}
