//! The layers of sources, and the first pass over them: every written value judged by the table of keys.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use figment::{
    providers::{Format, Yaml},
    value::{Dict, Value},
};
use wakumix_role_api::config::{Key, ValueError, ValueKind};
use zeroize::Zeroizing;

use super::{
    kind::{Misread, read, read_scalar, scalar_text, texts},
    masked::{Masked, Wiped},
    place::{Places, twice_in_yaml},
    presets::Preset,
    problem::{ConfigSource, Problem},
    schema::Schema,
    wakunode2::{self, Fate, Wakunode2Option},
};
use crate::{keys::Secret, roles::Roles};

/// What every environment variable of ours begins with.
pub const ENV_PREFIX: &str = "WAKUMIX_";
/// What those of `wakunode2` begin with (`spec/waku.md §7`), which name the same keys. It reads those that it knows and no others.
const WAKUNODE2_ENV_PREFIX: &str = "WAKUNODE2_";

/// Bytes of a file that are read at first: with every key and its documentation it has 30 kB.
const FIRST_READ: usize = 64 << 10;
/// The key that names what the node is.
const ROLES: &str = "roles";
/// The longest file: a list of 16 384 mix nodes has 3 MiB.
const MAX_FILE: usize = 8 << 20;

/// Items of one list that are named as wrong or repeated. The line of each is found by reading the file again.
const MAX_ITEMS_NAMED: usize = 20;

/// Variables with our prefix that are no keys: the path of the file.
const ENV_FILE: [&str; 2] = ["WAKUMIX_CONFIG", "WAKUMIX_CONFIG_FILE"];

/// The sources of a configuration. The environment comes in as a list, so that tests need not change the process's.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// The file; without it the variable `WAKUMIX_CONFIG` names it, if set and not empty.
    pub file: Option<PathBuf>,
    /// Names and values of environment variables; those without [`ENV_PREFIX`] or the one of `wakunode2` do not matter.
    pub environment: Vec<(String, String)>,
    /// Flags as given.
    pub flags: Vec<Flag>,
    /// The roles that the node can have: those of this build unless a program adds its own.
    pub roles: Roles,
}

/// One flag and its values, several for a list.
#[derive(Clone, Debug)]
pub struct Flag {
    /// The key or wakunode2 name, without dashes in front.
    pub name: String,
    /// The values.
    pub values: Vec<String>,
}

/// One value as written somewhere.
#[cfg_attr(any(test, fuzzing), derive(Clone))]
pub(super) struct Entry {
    /// Its name, brought into the form of a path.
    pub(super) name: String,
    raw: Wiped,
    source: ConfigSource,
}

/// What the first pass finds.
pub(super) struct Judge {
    /// Every key.
    pub(super) schema: Schema,
    /// Good values in canonical form, one table of tables for each layer, lowest first.
    pub(super) layers: Vec<Dict>,
    /// Good values that must not be shown; they never enter `layers`.
    pub(super) secrets: BTreeMap<&'static str, Secret>,
    /// Nwaku's switches.
    pub(super) switches: BTreeMap<&'static str, (bool, ConfigSource)>,
    /// Nwaku's options that are no keys here and may be refused, as written last.
    pub(super) options: BTreeMap<&'static str, (Vec<String>, ConfigSource)>,
    /// The presets in force: the one that a cluster implies, and the named one.
    pub(super) presets: Vec<&'static Preset>,
    /// Whether the node is one of a net on one machine.
    pub(super) is_on_one_machine: bool,
    /// Where the value in force of each key comes from.
    pub(super) sources: BTreeMap<&'static str, ConfigSource>,
    /// Keys with a bad value somewhere; the second pass does not judge them again.
    pub(super) bad: BTreeSet<&'static str>,
    /// What is wrong.
    pub(super) problems: Vec<Problem>,
    /// What should be known.
    pub(super) warnings: Vec<String>,
    /// Where the keys of the file stand.
    pub(super) places: Option<Places>,
    /// The name under which the value in force of a key was written.
    written: BTreeMap<&'static str, String>,
}

impl Inputs {
    /// This process's environment and no file or flag.
    pub fn from_process() -> Self {
        let mut environment: Vec<_> = std::env::vars_os()
            .map(|(name, value)| (name.to_string_lossy().into(), value.to_string_lossy().into()))
            .filter(|(name, _): &(String, String)| {
                name.starts_with(ENV_PREFIX) || name.starts_with(WAKUNODE2_ENV_PREFIX)
            })
            .collect();
        // Problems come out in the same order each time.
        environment.sort_unstable();
        Self { environment, ..Self::default() }
    }

    /// The file to read.
    pub fn file(&self) -> Option<PathBuf> {
        self.file.clone().or_else(|| {
            let named = |(name, path): &&(String, String)| ENV_FILE.contains(&name.as_str()) && !path.is_empty();
            self.environment.iter().find(named).map(|(_, path)| PathBuf::from(path))
        })
    }
}

/// The lowest layer.
pub(super) fn defaults(schema: &Schema) -> Vec<Entry> {
    let entry = |key: &Key, text: &str| Entry {
        name: key.path.to_owned(),
        raw: Wiped::new(text.into()),
        source: ConfigSource::Default,
    };
    schema.keys().iter().filter_map(|key| key.default.as_deref().map(|text| entry(key, text))).collect()
}

/// The layer of a preset, without keys of roles that are not in this build.
pub(super) fn preset(schema: &Schema, preset: &Preset) -> Vec<Entry> {
    let source = ConfigSource::Preset(preset.name);
    let entry = |(name, text): &(&str, &str)| Entry {
        name: (*name).to_owned(),
        raw: Wiped::new((*text).into()),
        source: source.clone(),
    };
    preset.values.iter().filter(|(name, _)| schema.find(name).is_some()).map(entry).collect()
}

/// The layer of a file, and where its keys stand.
pub(super) fn file(schema: &Schema, path: &Path) -> Result<(Vec<Entry>, Places), Problem> {
    let unreadable = |problem: String| {
        Problem::new(
            format!("configuration file {} cannot be read: {problem}", path.display()),
            "name a file that exists with --config, or leave it out",
        )
    };
    let bytes = read_wiped(path).map_err(|error| unreadable(error.to_string()))?;
    let text = str::from_utf8(&bytes).map_err(|error| unreadable(error.to_string()))?;
    file_of(schema, path, text)
}

/// Reads a file into memory that is wiped, without a copy anywhere else: where it gets too small, the larger one is filled from
/// it before it goes.
fn read_wiped(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut file = std::fs::File::open(path)?;
    let mut bytes = Zeroizing::new(vec![0; FIRST_READ]);
    let mut len = 0;
    loop {
        match file.read(bytes.get_mut(len..).unwrap_or_default()) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if len > MAX_FILE {
            return Err(io::Error::other(format!("it has more than {MAX_FILE} bytes")));
        }
        if len == bytes.len() {
            let mut larger = Zeroizing::new(vec![0; 2 * len]);
            larger.iter_mut().zip(bytes.iter()).for_each(|(to, from)| *to = *from);
            bytes = larger;
        }
    }
    bytes.truncate(len);
    Ok(bytes)
}

/// The layer of a file with this text.
pub(super) fn file_of(schema: &Schema, path: &Path, text: &str) -> Result<(Vec<Entry>, Places), Problem> {
    let masked = Masked::new(text);
    let text = masked.text();
    let (table, places) = match path.extension().and_then(|extension| extension.to_str()) {
        Some("toml") => (parse_toml(text), Places::Toml(text.to_owned())),
        Some("yaml" | "yml") => (parse_yaml(text), Places::Yaml(text.to_owned())),
        _ => {
            return Err(Problem::new(
                format!("configuration file {} has no known extension", path.display()),
                "call it .toml, .yaml or .yml after the format in it",
            ));
        }
    };
    let table = table.map_err(|error| {
        Problem::new(
            format!("configuration file {} cannot be parsed: {error}", path.display()),
            "correct that line; `wakumix config show --defaults` prints a file with every key",
        )
    })?;
    let mut entries = Vec::new();
    flatten(schema, &masked, "", table, &ConfigSource::File(path.to_owned()), &mut entries);
    Ok((entries, places))
}

/// The layer of environment variables.
pub(super) fn environment(variables: &[(String, String)]) -> Vec<Entry> {
    variables
        .iter()
        .filter(|(name, value)| !ENV_FILE.contains(&name.as_str()) && !is_service_link(name, value))
        .filter_map(|(name, value)| {
            let rest = name.strip_prefix(ENV_PREFIX).or_else(|| name.strip_prefix(WAKUNODE2_ENV_PREFIX))?;
            Some(Entry {
                name: rest.to_ascii_lowercase().replace("__", ".").replace('_', "-"),
                raw: Wiped::new(value.as_str().into()),
                source: ConfigSource::Environment(name.clone()),
            })
        })
        .collect()
}

/// The layer of flags.
pub(super) fn flags(flags: &[Flag]) -> Vec<Entry> {
    flags
        .iter()
        .map(|flag| Entry {
            name: flag.name.clone(),
            raw: Wiped::new(match flag.values.as_slice() {
                [one] => one.as_str().into(),
                many => many.iter().map(|value| Value::from(value.as_str())).collect::<Vec<_>>().into(),
            }),
            source: ConfigSource::Flag(flag.name.clone()),
        })
        .collect()
}

/// The text of the last entry of a name, for keys that decide what is read at all.
pub(super) fn last_text(entries: &[&[Entry]], name: &str) -> Option<String> {
    let mut all = entries.iter().flat_map(|layer| layer.iter());
    all.rfind(|entry| entry.name == name).map(|entry| scalar_text(entry.raw.get()))
}

impl Judge {
    /// Nothing is found yet.
    pub(super) fn new(schema: Schema) -> Self {
        Self {
            schema,
            layers: Vec::new(),
            secrets: BTreeMap::new(),
            switches: BTreeMap::new(),
            options: BTreeMap::new(),
            presets: Vec::new(),
            is_on_one_machine: false,
            sources: BTreeMap::new(),
            bad: BTreeSet::new(),
            problems: Vec::new(),
            warnings: Vec::new(),
            places: None,
            written: BTreeMap::new(),
        }
    }

    /// Where an entry of this name was written: of a file with the line, of a list with that of the item.
    pub(super) fn place(&self, name: &str, item: Option<usize>, source: &ConfigSource) -> String {
        let line = match (source, &self.places) {
            (ConfigSource::File(_), Some(places)) => places.line(name, item),
            _ => None,
        };
        line.map_or_else(|| source.to_string(), |line| format!("{source} line {line}"))
    }

    /// Where the value in force of a key was written; `None` for a default.
    pub(super) fn place_of(&self, key: &str) -> Option<String> {
        let source = self.sources.get(key).filter(|source| **source != ConfigSource::Default)?;
        let name = self.written.get(key).map_or(key, String::as_str);
        Some(self.place(name, None, source))
    }

    /// Judges one more layer, above those before it.
    pub(super) fn layer(&mut self, entries: Vec<Entry>) {
        let schema = self.schema.clone();
        let mut table = Dict::new();
        let mut seen: BTreeMap<&'static str, String> = BTreeMap::new();
        for entry in entries {
            if let Some(switch) = wakunode2::switch(&entry.name) {
                self.switch(switch.name, &entry);
            } else if let Some(key) = schema.written_as(&entry.name) {
                if let Some(other) = seen.insert(key.path, entry.name.clone()) {
                    self.twice(key, &other, &entry);
                }
                self.value(key, entry, &mut table);
            } else if let Some(option) = wakunode2::option(&entry.name) {
                self.option(option, &entry);
            } else {
                self.unknown(&entry);
            }
        }
        self.layers.push(table);
    }

    fn switch(&mut self, name: &'static str, entry: &Entry) {
        match read_scalar(&ValueKind::Bool, entry.raw.get()) {
            Ok(value) => {
                let on = value.to_bool().unwrap_or_default();
                self.switches.insert(name, (on, entry.source.clone()));
            }
            Err(error) => {
                self.bad.insert("roles");
                let place = self.place(&entry.name, None, &entry.source);
                self.problems.push(Problem::new(
                    format!("`{name}` in {place}: {error}"),
                    format!("write true or false; `roles` names roles one by one, table [{name}] holds their settings"),
                ));
            }
        }
    }

    /// Notes what is written of an option that may be refused. The others are passwords and the like, which nobody needs to know.
    fn option(&mut self, option: &'static Wakunode2Option, entry: &Entry) {
        if !matches!(option.fate, Fate::Ignored(_) | Fate::With(_)) {
            self.options.insert(option.name, (texts(entry.raw.get()), entry.source.clone()));
        }
    }

    fn value(&mut self, key: &Key, entry: Entry, table: &mut Dict) {
        let Entry { name, mut raw, source } = entry;
        // Start scripts pass on variables that may be empty: an optional key is then simply not set.
        if key.default.is_none() && matches!(raw.get(), Value::String(_, text) if text.trim().is_empty()) {
            return;
        }
        let secret = if key.kind.is_secret() { raw.take_text() } else { None };
        let read = match (secret, raw.get()) {
            (Some(text), _) => self.secret(key, text),
            // Digits without quotes, as YAML reads them: the number that they make is another text.
            (None, Value::Num(..)) if key.kind.is_secret() => {
                Err(vec![(None, ValueError::new("a number stands here; put it in quotes"))])
            }
            (None, raw) => read(key, raw).map(|value| {
                self.repeated(key, &name, &value, &source);
                insert(table, key, value);
            }),
        };
        match read {
            Ok(()) => {
                self.sources.insert(key.path, source);
                self.written.insert(key.path, name);
            }
            Err(errors) => {
                self.bad.insert(key.path);
                let default = key.default.as_deref().filter(|text| !text.is_empty());
                let default = default.map(|text| format!("; the default is {text}"));
                let help = format!("write {}{}", key.accepts(), default.unwrap_or_default());
                let left_out = errors.len().saturating_sub(MAX_ITEMS_NAMED);
                for (item, error) in errors.into_iter().take(MAX_ITEMS_NAMED) {
                    let place = self.place(&name, item, &source);
                    self.problems.push(Problem::new(format!("`{name}` in {place}: {error}"), help.clone()));
                }
                if left_out > 0 {
                    let place = self.place(&name, None, &source);
                    let message = format!("`{name}` in {place}: further items of the list are wrong: {left_out}");
                    self.problems.push(Problem::new(message, help));
                }
            }
        }
    }

    /// Says what a list has twice. Of roles it may mean that another one was to stand there; elsewhere it does no harm.
    fn repeated(&mut self, key: &Key, name: &str, value: &Value, source: &ConfigSource) {
        let Value::Array(_, items) = value else { return };
        let (mut seen, mut named) = (BTreeSet::new(), BTreeSet::new());
        for (index, text) in items.iter().map(scalar_text).enumerate() {
            if seen.insert(text.clone()) || named.len() == MAX_ITEMS_NAMED || !named.insert(text.clone()) {
                continue;
            }
            let place = self.place(name, Some(index), source);
            let message = format!("`{name}` in {place} names {text} twice");
            if key.path == ROLES {
                self.bad.insert(key.path);
                self.problems.push(Problem::new(message, "name each role once"));
            } else {
                self.warnings.push(message);
            }
        }
    }

    /// Moves a secret to where it is wiped when dropped.
    fn secret(&mut self, key: &Key, text: String) -> Result<(), Misread> {
        let secret = Secret::new(text);
        key.kind.read(secret.expose()).map_err(|error| vec![(None, error)])?;
        self.secrets.insert(key.path, secret);
        Ok(())
    }

    fn twice(&mut self, key: &Key, other: &str, entry: &Entry) {
        self.bad.insert(key.path);
        self.problems.push(Problem::new(
            format!(
                "`{other}` and `{}` in {} are the same key",
                entry.name,
                self.place(&entry.name, None, &entry.source)
            ),
            format!("keep `{}` only", key.path),
        ));
    }

    fn unknown(&mut self, entry: &Entry) {
        if matches!(&entry.source, ConfigSource::Environment(name) if name.starts_with(WAKUNODE2_ENV_PREFIX)) {
            self.warnings.push(format!("{} names no option of wakunode2, and has no effect", entry.source));
            return;
        }
        let help = match nearest(&self.schema, &entry.name) {
            Some(name) => format!("did you mean `{}`?", spelled(name, &entry.source)),
            None => "`wakumix config show --defaults` lists every key".to_owned(),
        };
        let place = self.place(&entry.name, None, &entry.source);
        self.problems.push(Problem::new(format!("unknown key `{}` in {place}", entry.name), help));
    }
}

/// How a key is written in the kind of source that a value came from.
pub(super) fn spelled(path: &str, source: &ConfigSource) -> String {
    match source {
        ConfigSource::Environment(_) => {
            let name = path.replace('.', "__").replace('-', "_").to_ascii_uppercase();
            format!("{ENV_PREFIX}{name}")
        }
        ConfigSource::Flag(_) => format!("--{path}"),
        _ => path.to_owned(),
    }
}

/// The known name that was probably meant.
fn nearest(schema: &Schema, name: &str) -> Option<&'static str> {
    let paths = || schema.keys().iter().map(|key| key.path);
    // The right key outside of its table.
    if let Some(path) = paths().find(|path| path.split_once('.').is_some_and(|(_, key)| key == name)) {
        return Some(path);
    }
    let tables = paths().filter_map(|path| path.split_once('.').map(|(table, _)| table));
    let limit = (name.len() / 3).max(2);
    paths()
        .chain(tables)
        .chain(schema.keys().iter().flat_map(|key| key.aliases).copied())
        .map(|path| (strsim::damerau_levenshtein(path, name), path))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, path)| path)
}

/// Takes a parsed file apart into its values; unknown tables stay whole and become one unknown key.
fn flatten(
    schema: &Schema,
    masked: &Masked,
    prefix: &str,
    table: Dict,
    source: &ConfigSource,
    entries: &mut Vec<Entry>,
) {
    for (name, value) in table {
        let path = format!("{prefix}{name}");
        match value {
            Value::Dict(_, inner) if schema.is_table(&path) => {
                flatten(schema, masked, &format!("{path}."), inner, source, entries);
            }
            mut raw => {
                masked.reveal(&mut raw);
                entries.push(Entry { name: path, raw: Wiped::new(raw), source: source.clone() });
            }
        }
    }
}

/// Puts a value where its path says.
pub(super) fn insert(table: &mut Dict, key: &Key, value: Value) {
    let (outer, name) = key.split();
    let Some(outer) = outer else {
        table.insert(name.to_owned(), value);
        return;
    };
    let inner = table.entry(outer.to_owned()).or_insert_with(|| Value::from(Dict::new()));
    if let Value::Dict(_, inner) = inner {
        inner.insert(name.to_owned(), value);
    }
}

/// The parser's own message shows the line, which may hold a secret: only its number is passed on.
fn parse_toml(text: &str) -> Result<Dict, String> {
    let table: toml::Table = toml::from_str(text).map_err(|error: toml::de::Error| {
        let start = error.span().map_or(0, |span| span.start);
        let line = text.bytes().take(start).filter(|byte| *byte == b'\n').count() + 1;
        // What the parser says of it names types of the language that this is written in.
        let message = if error.message().contains("i128") { "the number is too large" } else { error.message() };
        format!("line {line}: {message}")
    })?;
    match Value::serialize(table) {
        Ok(Value::Dict(_, table)) => Ok(table),
        Ok(_) | Err(_) => Err("it is not a table of keys".to_owned()),
    }
}

/// As with TOML, an error that could repeat content is cut to its place.
fn parse_yaml(text: &str) -> Result<Dict, String> {
    if let Some((line, key)) = twice_in_yaml(text) {
        return Err(format!("line {line}: the key `{key}` stands there a second time"));
    }
    match Yaml::from_str::<Value>(text) {
        Ok(Value::Dict(_, table)) => Ok(table),
        Ok(Value::Empty(..)) => Ok(Dict::new()),
        Ok(_) => Err("it is not a table of keys".to_owned()),
        Err(error) => match (error.to_string(), error.location()) {
            (message, _) if !message.contains("invalid") => Err(message),
            (_, Some(place)) => Err(format!("line {}: a key must be a text", place.line())),
            (_, None) => Err("a key must be a text".to_owned()),
        },
    }
}

/// Kubernetes puts `<SERVICE>_SERVICE_HOST`, `<SERVICE>_PORT_…` and the like into every container; a Service whose
/// name begins with `wakumix` must not break the node.
fn is_service_link(name: &str, value: &str) -> bool {
    let url = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    let detail = ["_PROTO", "_PORT", "_ADDR"].iter().any(|end| name.ends_with(end));
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || url && (name.ends_with("_PORT") || name.contains("_PORT_"))
        || detail && name.contains("_PORT_")
}
