//! One configuration key.

use super::{Form, ValueKind};

/// One key: the only place that knows its name, kind, default and meaning.
#[derive(Clone, Debug)]
pub struct Key {
    /// Its name as in a file; a dot separates a table from a key in it.
    pub path: &'static str,
    /// Its names in nwaku, where they differ.
    pub aliases: &'static [&'static str],
    /// What it accepts.
    pub kind: ValueKind,
    /// Whether it takes a list of such values.
    pub many: bool,
    /// Its default as written in an environment variable; `None` when it is unset.
    pub default: Option<String>,
    /// The heading in help and documentation that it stands under.
    pub group: &'static str,
    /// What it means, its unit, and what goes wrong at its ends.
    pub doc: &'static str,
}

impl Key {
    /// A key that is unset by default.
    #[must_use]
    pub const fn new(group: &'static str, path: &'static str, kind: ValueKind, doc: &'static str) -> Self {
        Self { path, aliases: &[], kind, many: false, default: None, group, doc }
    }

    /// The key of a field that has this form and default.
    #[must_use]
    pub fn of<T>(group: &'static str, path: &'static str, form: &impl Form<T>, default: &T, doc: &'static str) -> Self {
        let default = Some(form.write(default).join(","));
        Self { path, aliases: &[], kind: form.kind().clone(), many: form.is_list(), default, group, doc }
    }

    /// With these other names.
    #[must_use]
    pub const fn also(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    /// With this default.
    #[must_use]
    pub fn or(mut self, default: &str) -> Self {
        self.default = Some(default.to_owned());
        self
    }

    /// A list, empty unless a default follows.
    #[must_use]
    pub fn list(mut self) -> Self {
        self.many = true;
        self.or("")
    }

    /// A list that something else decides unless it is given.
    #[must_use]
    pub fn unset_list(mut self) -> Self {
        self.many = true;
        self
    }

    /// What it accepts, list or not.
    #[must_use]
    pub fn accepts(&self) -> String {
        if self.many { format!("a list, each {}", self.kind.form()) } else { self.kind.form() }
    }

    /// The table that the key stands in and its name there.
    #[must_use]
    pub fn split(&self) -> (Option<&'static str>, &'static str) {
        match self.path.split_once('.') {
            Some((table, name)) => (Some(table), name),
            None => (None, self.path),
        }
    }
}
