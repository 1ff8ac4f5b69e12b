//! Reading vector entries: typed access to the fields of a JSON object, with errors that say what was expected.

use std::fmt::Display;

use serde_json::{Map, Value};

use crate::report::Problem;
use crate::show::shorten_text;

/// The fields of one JSON object. Fields that nobody asks for are tolerated.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    /// The object behind `value`; `field` is the name under which it stands.
    pub(crate) fn of(field: &str, value: &'a Value) -> Result<Self, Problem> {
        match value {
            Value::Object(map) => Ok(Self(map)),
            other => Err(wrong(field, "an object", other)),
        }
    }

    /// Every field, in the order of the JSON library.
    pub(crate) fn iter(self) -> impl Iterator<Item = (&'a str, &'a Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// The raw value, `None` if the field is absent.
    pub(crate) fn get(self, field: &str) -> Option<&'a Value> {
        self.0.get(field)
    }

    /// True if the field is there and is not null.
    pub(crate) fn has(self, field: &str) -> bool {
        self.get(field).is_some_and(|value| !value.is_null())
    }

    /// A text.
    pub(crate) fn text(self, field: &str) -> Result<&'a str, Problem> {
        let value = self.need(field, "a text")?;
        value.as_str().ok_or_else(|| wrong(field, "a text", value))
    }

    /// A text, `None` if absent or null.
    pub(crate) fn optional_text(self, field: &str) -> Result<Option<&'a str>, Problem> {
        self.optional(field, Self::text)
    }

    /// A whole number of 64 bits.
    pub(crate) fn number(self, field: &str) -> Result<u64, Problem> {
        let value = self.need(field, "a whole number")?;
        value.as_u64().ok_or_else(|| wrong(field, "a whole number", value))
    }

    /// A number that fits `T`.
    pub(crate) fn small<T: TryFrom<u64>>(self, field: &str) -> Result<T, Problem> {
        let number = self.number(field)?;
        let limit = 8 * size_of::<T>();
        T::try_from(number).map_err(|_| Problem::new(field, format!("a number of {limit} bits"), number))
    }

    /// A number that fits `T`, `None` if absent or null.
    pub(crate) fn optional_small<T: TryFrom<u64>>(self, field: &str) -> Result<Option<T>, Problem> {
        self.optional(field, Self::small)
    }

    /// True or false.
    pub(crate) fn flag(self, field: &str) -> Result<bool, Problem> {
        let value = self.need(field, "true or false")?;
        value.as_bool().ok_or_else(|| wrong(field, "true or false", value))
    }

    /// True or false, `None` if absent or null.
    pub(crate) fn optional_flag(self, field: &str) -> Result<Option<bool>, Problem> {
        self.optional(field, Self::flag)
    }

    /// Bytes in hex.
    pub(crate) fn bytes(self, field: &str) -> Result<Vec<u8>, Problem> {
        decode_hex(field, self.need(field, "bytes in hex")?)
    }

    /// Bytes in hex, `None` if absent or null.
    pub(crate) fn optional_bytes(self, field: &str) -> Result<Option<Vec<u8>>, Problem> {
        self.optional(field, Self::bytes)
    }

    /// Exactly `N` bytes in hex.
    pub(crate) fn array<const N: usize>(self, field: &str) -> Result<[u8; N], Problem> {
        exactly(field, &self.bytes(field)?)
    }

    /// A list.
    pub(crate) fn list(self, field: &str) -> Result<&'a [Value], Problem> {
        let value = self.need(field, "a list")?;
        as_list(field, value)
    }

    /// A list of three whole numbers of 16 bits.
    pub(crate) fn delays(self, field: &str) -> Result<[u16; 3], Problem> {
        let list = self.triple(field)?;
        let mut delays = [0; 3];
        for (index, (slot, value)) in delays.iter_mut().zip(list).enumerate() {
            *slot = value
                .as_u64()
                .and_then(|number| u16::try_from(number).ok())
                .ok_or_else(|| wrong(&format!("{field}[{index}]"), "a number of 16 bits", value))?;
        }
        Ok(delays)
    }

    /// A list of three byte strings of `N` bytes.
    pub(crate) fn arrays<const N: usize>(self, field: &str) -> Result<[[u8; N]; 3], Problem> {
        let list = self.triple(field)?;
        let mut arrays = [[0; N]; 3];
        for (index, (slot, value)) in arrays.iter_mut().zip(list).enumerate() {
            let name = format!("{field}[{index}]");
            *slot = exactly(&name, &decode_hex(&name, value)?)?;
        }
        Ok(arrays)
    }

    /// A list of exactly three values, one per hop.
    pub(crate) fn triple(self, field: &str) -> Result<&'a [Value], Problem> {
        let list = self.list(field)?;
        match list.len() {
            3 => Ok(list),
            other => Err(Problem::new(field, "a list of 3, one per hop", format!("a list of {other}"))),
        }
    }

    fn need(self, field: &str, expected: &str) -> Result<&'a Value, Problem> {
        self.get(field).ok_or_else(|| Problem::new(field, expected, "nothing: the field is missing"))
    }

    fn optional<T>(
        self,
        field: &str,
        read: impl FnOnce(Self, &str) -> Result<T, Problem>,
    ) -> Result<Option<T>, Problem> {
        if self.has(field) { read(self, field).map(Some) } else { Ok(None) }
    }
}

/// The list behind `value`.
pub(crate) fn as_list<'a>(field: &str, value: &'a Value) -> Result<&'a [Value], Problem> {
    value.as_array().map(Vec::as_slice).ok_or_else(|| wrong(field, "a list", value))
}

/// The bytes behind a hex string.
pub(crate) fn decode_hex(field: &str, value: &Value) -> Result<Vec<u8>, Problem> {
    let text = value.as_str().ok_or_else(|| wrong(field, "bytes in hex", value))?;
    hex::decode(text).map_err(|error| {
        let got = format!("{:?}: {error}", shorten_text(text));
        Problem::new(field, "bytes in hex", got)
    })
}

/// `bytes` as an array of `N`.
pub(crate) fn exactly<const N: usize>(field: &str, bytes: &[u8]) -> Result<[u8; N], Problem> {
    bytes.try_into().map_err(|_| {
        let got = format!("{} bytes", bytes.len());
        Problem::new(field, format!("{N} bytes"), got)
    })
}

fn wrong(field: &str, expected: impl Display, value: &Value) -> Problem {
    let got = match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => format!("the text {:?}", shorten_text(text)),
        Value::Array(list) => format!("a list of {}", list.len()),
        Value::Object(map) => format!("an object of {} fields", map.len()),
    };
    Problem::new(field, expected, got)
}
