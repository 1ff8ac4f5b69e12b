//! What a route does, in words and schemas: the description of the interface is made of these (OpenAPI), and a test compares
//! every answer with them.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};

/// What a route does. What holds for every route (401 and 403 of `/admin`, 408 and 413 of those that take a body, 503 where the
/// role is off) the node adds.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    /// A line for people.
    pub summary: &'static str,
    /// One for each `{name}` of the path, in its order.
    pub parameters: &'static [Parameter],
    /// What it takes.
    pub body: Option<RequestBody>,
    /// What it answers.
    pub replies: &'static [Reply],
}

/// A part of the path that a request chooses.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// What it says.
    pub meaning: &'static str,
    /// Such a part, decoded.
    pub example: &'static str,
    /// A regular expression that every such part matches, decoded.
    pub pattern: &'static str,
}

/// A body that a route takes.
#[derive(Clone, Copy, Debug)]
pub struct RequestBody {
    /// Its form.
    pub schema: SchemaOf,
    /// Whether a request without one is refused.
    pub is_required: bool,
}

/// One of the answers of a route.
#[derive(Clone, Copy, Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// When it is given.
    pub meaning: &'static str,
    /// Its body.
    pub content: Content,
}

/// The body of an answer.
#[derive(Clone, Copy, Debug)]
pub enum Content {
    /// Words.
    Text,
    /// JSON.
    Json(SchemaOf),
    /// JSON objects, one per line.
    JsonLines(SchemaOf),
    /// Prometheus text.
    Metrics,
}

/// The schema of a type that serde reads or writes.
#[derive(Clone, Copy)]
pub struct SchemaOf(fn(&mut SchemaGenerator) -> Schema);

impl SchemaOf {
    /// That of `T`.
    #[must_use]
    pub const fn of<T: JsonSchema>() -> Self {
        Self(SchemaGenerator::subschema_for::<T>)
    }

    /// The schema, or a reference to it among the definitions of `generator`.
    pub fn generate(self, generator: &mut SchemaGenerator) -> Schema {
        (self.0)(generator)
    }
}

impl fmt::Debug for SchemaOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SchemaOf")
    }
}

impl Content {
    /// JSON of this type.
    #[must_use]
    pub const fn json<T: JsonSchema>() -> Self {
        Self::Json(SchemaOf::of::<T>())
    }

    /// JSON objects of this type, one per line.
    #[must_use]
    pub const fn json_lines<T: JsonSchema>() -> Self {
        Self::JsonLines(SchemaOf::of::<T>())
    }

    /// The media type, as `Content-Type` says it.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Text | Self::Metrics => "text/plain",
            Self::Json(_) => "application/json",
            Self::JsonLines(_) => "application/x-ndjson",
        }
    }
}

impl RequestBody {
    /// A body of this type, which every request has.
    #[must_use]
    pub const fn required<T: JsonSchema>() -> Self {
        Self { schema: SchemaOf::of::<T>(), is_required: true }
    }

    /// A body of this type, which a request may leave out.
    #[must_use]
    pub const fn optional<T: JsonSchema>() -> Self {
        Self { schema: SchemaOf::of::<T>(), is_required: false }
    }
}

impl Reply {
    /// An answer with JSON of this type.
    #[must_use]
    pub const fn json<T: JsonSchema>(status: u16, meaning: &'static str) -> Self {
        Self { status, meaning, content: Content::json::<T>() }
    }

    /// An answer in words.
    #[must_use]
    pub const fn text(status: u16, meaning: &'static str) -> Self {
        Self { status, meaning, content: Content::Text }
    }
}
