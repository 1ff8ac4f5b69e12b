//! JSON that keeps the order in which it was put together, whatever the features of the JSON library.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

/// A JSON value.
#[derive(Clone)]
pub(super) enum Tree {
    Null,
    Flag(bool),
    Number(u64),
    Text(String),
    List(Vec<Tree>),
    Object(Object),
}

/// A JSON object; its fields are written in the order in which they were added.
#[derive(Clone, Default)]
pub(super) struct Object(Vec<(String, Tree)>);

impl Object {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Adds a field.
    pub(super) fn with(mut self, name: &str, value: impl Into<Tree>) -> Self {
        self.0.push((name.to_owned(), value.into()));
        self
    }

    /// Adds bytes in hex.
    pub(super) fn hex(self, name: &str, bytes: impl AsRef<[u8]>) -> Self {
        self.with(name, hex::encode(bytes))
    }

    /// Adds a list of byte strings in hex.
    pub(super) fn hexes<const N: usize>(self, name: &str, list: &[[u8; N]]) -> Self {
        self.with(name, Tree::List(list.iter().map(|bytes| hex::encode(bytes).into()).collect()))
    }
}

impl From<Object> for Tree {
    fn from(object: Object) -> Self {
        Self::Object(object)
    }
}

impl From<Vec<Object>> for Tree {
    fn from(list: Vec<Object>) -> Self {
        Self::List(list.into_iter().map(Self::Object).collect())
    }
}

impl From<Vec<Tree>> for Tree {
    fn from(list: Vec<Tree>) -> Self {
        Self::List(list)
    }
}

impl From<bool> for Tree {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl From<u64> for Tree {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<usize> for Tree {
    fn from(number: usize) -> Self {
        Self::Number(number as u64)
    }
}

impl From<u32> for Tree {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<u16> for Tree {
    fn from(number: u16) -> Self {
        Self::Number(number.into())
    }
}

impl From<&str> for Tree {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Tree {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl<T: Into<Tree>> From<Option<T>> for Tree {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl Serialize for Tree {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Flag(flag) => serializer.serialize_bool(*flag),
            Self::Number(number) => serializer.serialize_u64(*number),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(list) => serializer.collect_seq(list),
            Self::Object(object) => object.serialize(serializer),
        }
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}
