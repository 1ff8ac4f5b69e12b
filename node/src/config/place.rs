//! Where a key stands in a configuration file: read again for it, and only when there is something to say.

use std::{collections::HashSet, fmt};

use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// The text of a file that was read, without its keys.
#[derive(Debug)]
pub(super) enum Places {
    Toml(String),
    Yaml(String),
}

impl Places {
    /// The line of a key, or of one item of its list; `None` if it is not there.
    pub(super) fn line(&self, path: &str, item: Option<usize>) -> Option<usize> {
        match self {
            Self::Toml(text) => line_in_toml(text, path, item),
            Self::Yaml(text) => line_in_yaml(text, path, item),
        }
    }
}

/// A key may hold dots itself, so each table on the way may take any part of the path.
fn parts(path: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    let split = path.match_indices('.').map(|(at, _)| (&path[..at], Some(&path[at + 1..])));
    std::iter::once((path, None)).chain(split)
}

fn line_in_toml(text: &str, path: &str, item: Option<usize>) -> Option<usize> {
    let table = DeTable::parse(text).ok()?.into_inner();
    let (key, value) = in_table(&table, path)?;
    let items = value.get_ref().as_array();
    let item = item.and_then(|index| items?.get(index)).map(|item| item.span().start);
    let start = item.unwrap_or(key);
    Some(text.bytes().take(start).filter(|byte| *byte == b'\n').count() + 1)
}

/// Where the key begins, and its value.
fn in_table<'a, 'i>(table: &'a DeTable<'i>, path: &str) -> Option<(usize, &'a Spanned<DeValue<'i>>)> {
    parts(path).find_map(|(name, rest)| {
        let (key, value) = table.iter().find(|(key, _)| key.get_ref() == name)?;
        match rest {
            None => Some((key.span().start, value)),
            Some(rest) => in_table(value.get_ref().as_table()?, rest),
        }
    })
}

/// serde_yaml says where it is only in an error, so this reads up to the key and fails there.
fn line_in_yaml(text: &str, path: &str, item: Option<usize>) -> Option<usize> {
    let stopped = |item| Stop { path, item }.deserialize(serde_yaml::Deserializer::from_str(text)).err();
    let line = |error: serde_yaml::Error| error.location().map(|place| place.line());
    let found = |error: &serde_yaml::Error| error.to_string().contains(HERE);
    let of_item = item.and_then(|index| stopped(Some(index)).filter(found));
    of_item.or_else(|| stopped(None).filter(found)).and_then(line)
}

/// The error of [`Stop`]; no parser says this.
const HERE: &str = "\u{f8ff}here";

/// Reads until a key, or an item of its list.
#[derive(Clone, Copy)]
struct Stop<'a> {
    path: &'a str,
    item: Option<usize>,
}

impl<'de> DeserializeSeed<'de> for Stop<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Stop<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(rest) = map.next_key_seed(StopAtKey(self))? {
            match rest {
                // The list of the key; items fail where they are.
                Some(None) => return map.next_value_seed(StopAtItem(self.item)),
                Some(Some(path)) => map.next_value_seed(Stop { path, item: self.item })?,
                None => drop(map.next_value::<serde::de::IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// What is left of the path after this key: everything, nothing, or some.
struct StopAtKey<'a>(Stop<'a>);

impl<'de, 'a> DeserializeSeed<'de> for StopAtKey<'a> {
    type Value = Option<Option<&'a str>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'a> Visitor<'_> for StopAtKey<'a> {
    type Value = Option<Option<&'a str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<Self::Value, E> {
        let rest = parts(self.0.path).find(|(name, _)| *name == key).map(|(_, rest)| rest);
        if rest == Some(None) && self.0.item.is_none() { Err(E::custom(HERE)) } else { Ok(rest) }
    }
}

/// Fails at an item of a list.
struct StopAtItem(Option<usize>);

impl<'de> DeserializeSeed<'de> for StopAtItem {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for StopAtItem {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        for _ in 0..self.0.unwrap_or_default() {
            items.next_element::<serde::de::IgnoredAny>()?;
        }
        items.next_element::<StopHere>().map(drop)
    }
}

/// Fails at whatever stands here.
struct StopHere;

impl<'de> Deserialize<'de> for StopHere {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// Takes nothing.
        struct Nothing;
        impl Visitor<'_> for Nothing {
            type Value = ();
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(HERE)
            }
        }
        deserializer.deserialize_any(Nothing).map(|()| Self)
    }
}

/// The key that a mapping of a YAML text has twice, and the line of the second one. The parser lets the last one win.
pub(super) fn twice_in_yaml(text: &str) -> Option<(usize, String)> {
    let error = serde_yaml::from_str::<OnceEach>(text).err()?;
    let message = error.to_string();
    let (_, key) = message.split_once(TWICE)?;
    let key = key.rsplit_once(" at line ").map_or(key, |(key, _)| key);
    Some((error.location()?.line(), key.to_owned()))
}

/// The error of [`OnceEach`], before the key; no parser says this.
const TWICE: &str = "\u{f8ff}twice:";

/// A value none of whose tables has a key twice.
struct OnceEach;

impl<'de> Deserialize<'de> for OnceEach {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OnceEachVisitor)
    }
}

struct OnceEachVisitor;

/// Scalars are as they are.
macro_rules! scalars {
    ($($visit:ident($kind:ty)),*) => {
        $(fn $visit<E: serde::de::Error>(self, _: $kind) -> Result<OnceEach, E> { Ok(OnceEach) })*
    };
}

impl<'de> Visitor<'de> for OnceEachVisitor {
    type Value = OnceEach;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    scalars!(visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_i128(i128), visit_u128(u128));
    scalars!(visit_f64(f64), visit_str(&str));

    fn visit_unit<E: serde::de::Error>(self) -> Result<OnceEach, E> {
        Ok(OnceEach)
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<OnceEach, E> {
        Ok(OnceEach)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<OnceEach, A::Error> {
        while items.next_element::<OnceEach>()?.is_some() {}
        Ok(OnceEach)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<OnceEach, A::Error> {
        let mut seen = HashSet::new();
        while map.next_key_seed(NewKey(&mut seen))?.is_some() {
            map.next_value::<OnceEach>()?;
        }
        Ok(OnceEach)
    }
}

/// A key that the table has not had. What is not a text, the parser itself refuses.
struct NewKey<'a>(&'a mut HashSet<String>);

impl<'de> DeserializeSeed<'de> for NewKey<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NewKey<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<(), E> {
        if self.0.insert(key.to_owned()) { Ok(()) } else { Err(E::custom(format!("{TWICE}{key}"))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_line_of_a_key_and_of_an_item() {
        let toml =
            "# x\nrest = true\n\nshard = [\n  0,\n  1, 2,\n]\n[mix]\ndelay = '1ms'\n\n[\"a.b\"]\nc = { d = 1 }\n";
        let yaml = "# x\nrest: true\n\nshard:\n  - 0\n  - 1\nmix:\n  # y\n  delay: 1ms\n\n'a.b':\n  c: { d: 1 }\n";
        let (toml, yaml) = (Places::Toml(toml.to_owned()), Places::Yaml(yaml.to_owned()));
        for (path, item, in_toml, in_yaml) in [
            ("rest", None, Some(2), Some(2)),
            ("shard", None, Some(4), Some(4)),
            ("shard", Some(0), Some(5), Some(5)),
            ("shard", Some(1), Some(6), Some(6)),
            ("shard", Some(9), Some(4), Some(4)),
            ("rest", Some(0), Some(2), Some(2)),
            ("mix", None, Some(8), Some(7)),
            ("mix.delay", None, Some(9), Some(9)),
            ("a.b.c", None, Some(12), Some(12)),
            ("a.b.c.d", None, Some(12), Some(12)),
            ("a", None, None, None),
            ("mix.delai", None, None, None),
            ("rest.x", None, None, None),
        ] {
            assert_eq!(toml.line(path, item), in_toml, "{path} {item:?}");
            assert_eq!(yaml.line(path, item), in_yaml, "{path} {item:?}");
        }
    }

    #[test]
    fn finds_a_key_that_a_yaml_table_has_twice() {
        for (text, found) in [
            ("a: 1\nb: 2\na: 3\n", Some((3, "a"))),
            ("a:\n  x: 1\n  'y': 2\n  y: [1]\n", Some((4, "y"))),
            ("a: {x: 1, x: 2}", Some((1, "x"))),
            ("- a: 1\n- b: 2\n  b: ~\n", Some((3, "b"))),
            ("a: {x: 1}\nb: {x: 1.5, y: null, z: -1, t: text}\n", None),
            ("", None),
            ("just text", None),
            (": [", None),
        ] {
            let found = found.map(|(line, key): (usize, &str)| (line, key.to_owned()));
            assert_eq!(twice_in_yaml(text), found, "{text}");
        }
    }
}
