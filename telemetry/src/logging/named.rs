//! The name of the node in each line: several nodes of one terminal or collector can be told apart.

use std::{
    io::{self, Write},
    sync::Arc,
};

use tracing_subscriber::fmt::MakeWriter;

use super::Format;

/// Makes writers of lines that begin with a name.
pub(super) struct Named<M> {
    inner: M,
    start: Option<Arc<str>>,
    format: Format,
}

/// Writes one line; the layer above hands it over at once.
pub(super) struct NamedLine<W> {
    inner: W,
    start: Option<Arc<str>>,
    format: Format,
}

impl<M> Named<M> {
    /// `name` is of letters, digits, dots, dashes and underscores, so it needs no escapes.
    pub(super) fn new(inner: M, name: Option<&str>, format: Format) -> Self {
        let start = name.map(|name| match format {
            Format::Text => format!("{name}  ").into(),
            Format::Json => format!("{{\"node\":\"{name}\",").into(),
        });
        Self { inner, start, format }
    }
}

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for Named<M> {
    type Writer = NamedLine<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        NamedLine { inner: self.inner.make_writer(), start: self.start.clone(), format: self.format }
    }
}

impl<W: Write> Write for NamedLine<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(start) = self.start.take() else {
            self.inner.write_all(bytes)?;
            return Ok(bytes.len());
        };
        let rest = match self.format {
            Format::Json => bytes.strip_prefix(b"{").unwrap_or(bytes),
            Format::Text => bytes,
        };
        // In one piece: other processes write to the same terminal.
        self.inner.write_all(&[start.as_bytes(), rest].concat())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
