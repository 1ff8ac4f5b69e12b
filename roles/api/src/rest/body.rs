//! Reading JSON bodies, and saying what is wrong with one in the words of JSON: whoever writes a body need not know what it is
//! read into.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, MapAccess, Visitor, value::MapAccessDeserializer},
};

/// The most of an error that is repeated: the body is the caller's, and may be long.
const MAX_WORDS: usize = 300;

/// Reads a JSON body.
///
/// # Errors
/// A sentence that says what is malformed and where.
pub fn read_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    if body.is_empty() {
        return Err("the request has no body; send JSON, with `Content-Type: application/json`".to_owned());
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    let read = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        (Some(path).filter(|path| !matches!(path.as_str(), "." | "?")), error.into_inner())
    });
    let read = read.and_then(|value| reader.end().map(|()| value).map_err(|error| (None, error)));
    read.map_err(|(path, error)| {
        let words = in_words_of_json(&error.to_string());
        // An unknown field is named by what is wrong with it.
        let path = if words.starts_with("unknown field") { path.and_then(parent) } else { path };
        let path = path.map(|path| format!("{path}: ")).unwrap_or_default();
        let mut all = format!("malformed JSON body: {path}{words}");
        if let Some((end, _)) = all.char_indices().nth(MAX_WORDS) {
            all.truncate(end);
            all.push('…');
        }
        all
    })
}

/// The path of what a field stands in.
#[expect(clippy::needless_pass_by_value, reason = "as `and_then` gives it")]
fn parent(path: String) -> Option<String> {
    path.rsplit_once('.').map(|(parent, _)| parent.to_owned())
}

/// What is read from a JSON object and from nothing else: serde reads the fields of a struct from a list too, in their order,
/// and a caller that left out their names has mistaken something.
#[derive(Clone, Copy, Debug, Default)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        object(deserializer).map(Self)
    }
}

/// Reads a field as [`Object`] does: `#[serde(deserialize_with = "object")]`.
///
/// # Errors
/// When it is something else, or its fields are not those of `T`.
pub fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    struct Fields<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map))
        }
    }

    deserializer.deserialize_map(Fields(PhantomData))
}

/// What serde says of types, and what they are in JSON. A longer entry stands before one that it begins with.
const EXPECTED: [(&str, &str); 17] = [
    ("u8", "a whole number from 0 to 255"),
    ("u16", "a whole number from 0 to 65535"),
    ("u32", "a whole number from 0 to 4294967295"),
    ("u64", "a whole number from 0 to 18446744073709551615"),
    ("usize", "a whole number from 0 on"),
    ("i32", "a whole number from -2147483648 to 2147483647"),
    ("i64", "a whole number from -9223372036854775808 to 9223372036854775807"),
    ("a boolean", "true or false"),
    ("a sequence", "a list"),
    ("a map", "an object"),
    ("struct ", "an object"),
    ("tuple struct ", "a list"),
    ("internally tagged enum ", "an object"),
    ("adjacently tagged enum ", "an object"),
    ("enum ", "one of the known words"),
    ("unit", "null"),
    ("borrowed string", "a string"),
];

/// What serde says that it has found, and what that is in JSON.
const FOUND: [(&str, &str); 4] =
    [("sequence", "list"), ("map", "object"), ("floating point ", "number "), ("integer ", "number ")];

/// An error of serde without the words of Rust.
fn in_words_of_json(error: &str) -> String {
    // What stands in quotes is the caller's own and stays.
    if let Some(rest) = error.strip_prefix("unknown variant ") {
        return format!("unknown value {rest}");
    }
    let Some((kind, rest)) = ["invalid type: ", "invalid value: "].into_iter().find_map(|kind| {
        let rest = error.strip_prefix(kind)?;
        Some((kind, rest))
    }) else {
        return error.to_owned();
    };
    let Some((found, expected)) = rest.rsplit_once(", expected ") else { return error.to_owned() };
    let (expected, place) = expected.rsplit_once(" at line ").unwrap_or((expected, ""));
    let translated = EXPECTED
        .iter()
        .find(|(word, _)| if word.ends_with(' ') { expected.starts_with(word) } else { expected == *word });
    let expected = translated.map_or(expected, |(_, words)| words);
    let found = match FOUND.iter().find(|(word, _)| found.starts_with(word)) {
        Some((word, words)) => format!("{words}{}", found.get(word.len()..).unwrap_or_default()),
        None => found.to_owned(),
    };
    let place = if place.is_empty() { String::new() } else { format!(" at line {place}") };
    format!("{kind}{found}, expected {expected}{place}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;
    use serde_json::{Value, json};

    use super::*;
    use crate::rest::MessageJson;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    #[expect(dead_code, reason = "it is read, or not")]
    struct Body {
        #[serde(deserialize_with = "object")]
        message: MessageJson,
        #[serde(default)]
        way: Option<Way>,
        #[serde(default)]
        limit: Option<u64>,
        #[serde(default)]
        topics: Vec<String>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Way {
        Long,
        Short,
    }

    fn with(field: &str, value: Value) -> Vec<u8> {
        let mut body = json!({ "message": { "payload": "", "contentTopic": "/a/1/b/c" } });
        body[field] = value;
        body.to_string().into_bytes()
    }

    #[test]
    fn says_which_field_is_wrong_in_words_of_json() {
        for (body, words) in [
            (with("message", json!({ "payload": 1 })), "message.payload: invalid type: number `1`, expected a string"),
            (with("message", json!([])), "message: invalid type: list, expected an object"),
            (with("message", json!(["", "/a/1/b/c"])), "message: invalid type: list, expected an object"),
            (with("message", json!("x")), "message: invalid type: string \"x\", expected an object"),
            (with("limit", json!(-1)), "limit: invalid value: number `-1`, expected a whole number from 0 to 184"),
            (with("limit", json!({})), "limit: invalid type: object, expected a whole number"),
            (with("limit", json!(1.5)), "limit: invalid type: number `1.5`, expected a whole number"),
            (with("way", json!("wide")), "way: unknown value `wide`, expected `long` or `short`"),
            (with("topics", json!({})), "topics: invalid type: object, expected a list"),
            (with("topics", json!(["a", 7])), "topics[1]: invalid type: number `7`, expected a string"),
            (with("wey", json!(1)), "unknown field `wey`"),
            (with("message", json!({ "paylaod": 1 })), "message: unknown field `paylaod`"),
            (b"[]".to_vec(), "invalid type: list, expected an object"),
            (b"{}".to_vec(), "missing field `message`"),
            (b"[".to_vec(), "invalid type: list, expected an object"),
            (b"{".to_vec(), "EOF while parsing an object"),
            (b"{} {}".to_vec(), "missing field `message`"),
            (b"\xff".to_vec(), "expected value at line 1"),
        ] {
            let error = read_json::<Object<Body>>(&body).unwrap_err();
            assert!(error.starts_with(&format!("malformed JSON body: {words}")), "{error}");
        }
        assert!(read_json::<Object<Body>>(&with("way", json!("short"))).is_ok());
        assert!(read_json::<Object<Body>>(b"").unwrap_err().starts_with("the request has no body"));
        let long = read_json::<Object<Body>>(&with("limit", json!("x".repeat(100_000)))).unwrap_err();
        assert!(long.chars().count() <= MAX_WORDS + 1, "{long}");
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[a-c]{0,3}".prop_map(Value::from),
        ];
        leaf.prop_recursive(2, 8, 3, |inner| {
            let field = prop_oneof!["payload", "contentTopic", "version", "timestamp", "meta", "ephemeral", "[x-z]"];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map(field, inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_error_has_words_of_rust(field in prop_oneof!["message", "way", "limit", "topics"], value in value()) {
            if let Err(error) = read_json::<Object<Body>>(&with(&field, value)) {
                for word in ["struct", "enum", "variant", "tuple", "sequence", "u32", "u64", "i64", " map", "boolean,", "Json"] {
                    prop_assert!(!error.contains(word), "{}", error);
                }
            }
        }
    }
}
