//! What a key accepts and the type that it is read into, as one value.

use std::{fmt::Display, ops::RangeInclusive, str::FromStr, time::Duration};

use wakumix_mix::DelayLaw;

use super::{ByteSize, MixDelay, Timespan, ValueError, ValueKind};

/// How a field of type `T` is written: what is accepted, and both ways between texts and values.
pub trait Form<T> {
    /// What each text must be.
    fn kind(&self) -> &ValueKind;

    /// Whether it is a list.
    fn is_list(&self) -> bool;

    /// The value of canonical texts: one, or any number for a list.
    ///
    /// # Errors
    /// One clause that says why there is none.
    fn read(&self, texts: &[String]) -> Result<T, ValueError>;

    /// The texts of a value.
    fn write(&self, value: &T) -> Vec<String>;
}

/// The form of a single value.
#[derive(Clone, Debug)]
pub struct Scalar<T> {
    /// What is accepted.
    pub kind: ValueKind,
    /// The value of a canonical text.
    pub read: fn(&str) -> Result<T, ValueError>,
    /// The text of a value.
    pub write: fn(&T) -> String,
}

/// The form of a list of single values.
#[derive(Clone, Debug)]
pub struct ListOf<T>(Scalar<T>);

impl<T> Form<T> for Scalar<T> {
    fn kind(&self) -> &ValueKind {
        &self.kind
    }

    fn is_list(&self) -> bool {
        false
    }

    fn read(&self, texts: &[String]) -> Result<T, ValueError> {
        match texts {
            [text] => (self.read)(text),
            _ => Err(ValueError::new(format!("expected {}", self.kind.form()))),
        }
    }

    fn write(&self, value: &T) -> Vec<String> {
        vec![(self.write)(value)]
    }
}

impl<T> Form<Vec<T>> for ListOf<T> {
    fn kind(&self) -> &ValueKind {
        &self.0.kind
    }

    fn is_list(&self) -> bool {
        true
    }

    fn read(&self, texts: &[String]) -> Result<Vec<T>, ValueError> {
        texts.iter().map(|text| (self.0.read)(text)).collect()
    }

    fn write(&self, values: &Vec<T>) -> Vec<String> {
        values.iter().map(self.0.write).collect()
    }
}

/// True or false.
#[must_use]
pub fn flag() -> Scalar<bool> {
    Scalar { kind: ValueKind::Bool, read: parse, write: ToString::to_string }
}

/// A whole number in a range.
#[must_use]
pub fn number<T>(range: RangeInclusive<u64>) -> Scalar<T>
where
    T: FromStr<Err: Display> + ToString,
{
    Scalar {
        kind: ValueKind::Number { min: *range.start(), max: *range.end() },
        read: parse,
        write: ToString::to_string,
    }
}

/// A time in a range, both ends in milliseconds.
#[must_use]
pub fn time(millis: RangeInclusive<u64>) -> Scalar<Duration> {
    let kind = ValueKind::Time { min_ms: *millis.start(), max_ms: *millis.end() };
    let write = |time: &Duration| Timespan::from(*time).to_string();
    Scalar { kind, read: |text| text.parse().map(Timespan::as_duration), write }
}

/// A number of bytes in a range.
#[must_use]
pub fn size(bytes: RangeInclusive<u64>) -> Scalar<usize> {
    let kind = ValueKind::Size { min: *bytes.start(), max: *bytes.end() };
    let write = |size: &usize| ByteSize::from_bytes((*size).try_into().unwrap_or(u64::MAX)).to_string();
    Scalar { kind, read: |text| text.parse().map(ByteSize::as_len), write }
}

/// One of these words, which the type reads and writes.
#[must_use]
pub fn choice<T>(names: &[&'static str]) -> Scalar<T>
where
    T: FromStr<Err: Display> + ToString,
{
    Scalar { kind: ValueKind::choice(names), read: parse, write: ToString::to_string }
}

/// A text that the type reads and writes; `form` and `placeholder` as in [`ValueKind::Text`].
#[must_use]
pub fn text<T>(form: &'static str, placeholder: &'static str) -> Scalar<T>
where
    T: FromStr<Err: Display> + ToString,
{
    let canonical = |text: &str| parse::<T>(text).map(|value| value.to_string());
    Scalar { kind: ValueKind::Text { form, placeholder, read: canonical }, read: parse, write: ToString::to_string }
}

/// A law of delays: none, or the mean of an exponential law.
#[must_use]
pub fn delay() -> Scalar<DelayLaw> {
    Scalar {
        kind: text::<MixDelay>(MixDelay::FORM, MixDelay::PLACEHOLDER).kind,
        read: |text| text.parse().map(|MixDelay(law)| law),
        write: |law| MixDelay(*law).to_string(),
    }
}

/// Any number of such values.
#[must_use]
pub fn list<T>(item: Scalar<T>) -> ListOf<T> {
    ListOf(item)
}

fn parse<T: FromStr<Err: Display>>(text: &str) -> Result<T, ValueError> {
    text.parse().map_err(|error: T::Err| ValueError::new(error.to_string()))
}
