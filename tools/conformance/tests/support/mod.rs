//! Small changes of JSON values, to see that they are found.

#![allow(unreachable_pub, reason = "each test is its own crate")]

use serde_json::Value;

/// One value inside an entry.
pub struct Leaf {
    /// Path inside the section, for `Value::pointer_mut`.
    pub pointer: String,
    /// Name of the field.
    pub field: String,
    /// Index of the hop, for values of a hop.
    pub hop: Option<usize>,
}

/// Every value inside `value`.
pub fn leaves(value: &Value, pointer: &str, field: &str, hop: Option<usize>, found: &mut Vec<Leaf>) {
    match value {
        Value::Object(map) => {
            for (name, inner) in map {
                leaves(inner, &format!("{pointer}/{name}"), name, hop, found);
            }
        }
        Value::Array(list) => {
            for (index, inner) in list.iter().enumerate() {
                let hop = if matches!(field, "hops" | "sequence") { Some(index) } else { hop };
                leaves(inner, &format!("{pointer}/{index}"), field, hop, found);
            }
        }
        Value::Null => {}
        _ => found.push(Leaf { pointer: pointer.to_owned(), field: field.to_owned(), hop }),
    }
}

/// Changes a value a little; `false` if there is nothing to change.
pub fn mutate(value: &mut Value) -> bool {
    match value {
        Value::Bool(flag) => *flag = !*flag,
        Value::Number(number) => {
            let other = number.as_u64().unwrap() ^ 1;
            *number = other.into();
        }
        Value::String(text) => {
            let hex = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_hexdigit());
            if !hex {
                return false;
            }
            let at = text.len() / 2;
            let digit = u8::from_str_radix(&text[at..=at], 16).unwrap() ^ 1;
            text.replace_range(at..=at, &format!("{digit:x}"));
        }
        _ => return false,
    }
    true
}
