//! The flags of a configuration, made from the keys: their names cannot drift from those in files.

use std::{convert::Infallible, ffi::OsString, path::PathBuf};

use clap::{
    Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches,
    builder::{TypedValueParser as _, ValueParser},
};
use wakumix_node::{
    config::{Flag, Inputs, OPTIONS, SWITCHES, Schema, capitalised, sentence},
    roles::Roles,
};
use wakumix_role_api::config::{Key, ValueKind};

/// `--config` and one flag for every key. The flags of keys come later, once it is known which roles the
/// program has.
#[derive(Clone, Debug, Default)]
pub(super) struct ConfigArgs {
    file: Option<PathBuf>,
    flags: Vec<Flag>,
}

/// The value of a flag of a key, which tells it from those of other flags.
#[derive(Clone)]
struct KeyText(String);

const FILE: &str = "config";
const FLEET: &str = "Other names";

impl ConfigArgs {
    /// These flags over the process's environment, for a node that can have these roles.
    pub(super) fn inputs(&self, roles: &Roles) -> Inputs {
        let roles = roles.clone();
        Inputs { file: self.file.clone(), flags: self.flags.clone(), roles, ..Inputs::from_process() }
    }
}

impl Args for ConfigArgs {
    fn augment_args(command: Command) -> Command {
        let file = Arg::new(FILE)
            .long(FILE)
            .short('c')
            .alias("config-file")
            .value_name("FILE")
            .value_parser(ValueParser::path_buf())
            .help("Configuration file, TOML or YAML [env: WAKUMIX_CONFIG]");
        // They take a value or none, and are judged with the rest of the configuration.
        let others = OPTIONS
            .iter()
            .map(|option| boolean(Arg::new(option.name).long(option.name).hide(true).action(ArgAction::Append)));
        command.arg(file).args(others)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for ConfigArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let flags = matches.ids().filter_map(|id| {
            let values = matches.try_get_many::<KeyText>(id.as_str()).ok()??;
            Some(Flag { name: id.as_str().to_owned(), values: values.map(|KeyText(text)| text.clone()).collect() })
        });
        let mut flags: Vec<Flag> = flags.collect();
        // What is said of them comes in the same order each time.
        flags.sort_by(|first, second| first.name.cmp(&second.name));
        Ok(Self { file: matches.get_one::<PathBuf>(FILE).cloned(), flags })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The arguments with `--name=value` for `--name:value`, which nwaku's command line takes as well. What follows `--` is left
/// as it is.
pub(super) fn with_equals(arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Vec<OsString> {
    let mut are_flags = true;
    let written = arguments.into_iter().map(Into::into);
    written
        .map(|argument: OsString| {
            are_flags &= argument != "--";
            argument.to_str().filter(|_| are_flags).and_then(with_equal).map_or(argument, OsString::from)
        })
        .collect()
}

fn with_equal(argument: &str) -> Option<String> {
    let (name, value) = argument.strip_prefix("--")?.split_once(':')?;
    let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
    (is_name && !name.is_empty()).then(|| format!("--{name}={value}"))
}

/// Gives each command that takes a configuration the flags of these keys.
pub(super) fn with_keys(command: Command, schema: &Schema) -> Command {
    let names: Vec<String> = command.get_subcommands().map(|inner| inner.get_name().to_owned()).collect();
    let command =
        names.into_iter().fold(command, |command, name| command.mut_subcommand(name, |inner| with_keys(inner, schema)));
    let takes_configuration = command.get_arguments().any(|argument| argument.get_id() == OPTIONS[0].name);
    if takes_configuration { command.args(key_flags(schema)) } else { command }
}

fn key_flags(schema: &Schema) -> Vec<Arg> {
    let keys = schema.keys().iter().map(key_flag);
    let switches = SWITCHES.iter().map(|switch| {
        boolean(Arg::new(switch.name).long(switch.name).help_heading(FLEET).help(capitalised(switch.doc)))
    });
    let aliases = schema.keys().iter().flat_map(|key| {
        let help = format!("Other name of --{}", key.path);
        key.aliases
            .iter()
            .map(move |name| valued(key, Arg::new(*name).long(*name)).help_heading(FLEET).help(help.clone()))
    });
    keys.chain(switches).chain(aliases).collect()
}

fn key_flag(key: &Key) -> Arg {
    let default = match key.default.as_deref() {
        None | Some("") => String::new(),
        Some(default) => format!(" [default: {default}]"),
    };
    valued(key, Arg::new(key.path).long(key.path)).help_heading(key.group).help(format!("{}{default}", sentence(key)))
}

/// Gives a flag the values that its key takes.
fn valued(key: &Key, flag: Arg) -> Arg {
    let flag = flag.value_name(key.kind.placeholder()).value_parser(key_text());
    match key.kind {
        ValueKind::Bool => boolean(flag),
        _ if key.many => flag.action(ArgAction::Append).num_args(1),
        _ => flag.num_args(1),
    }
}

/// `--rest`, `--rest=true`, `--rest True`: as nwaku's command line has it.
fn boolean(flag: Arg) -> Arg {
    flag.value_name("BOOL").num_args(0..=1).default_missing_value("true").value_parser(key_text())
}

fn key_text() -> ValueParser {
    let parser = clap::builder::StringValueParser::new();
    ValueParser::new(parser.try_map(|text| Ok::<_, Infallible>(KeyText(text))))
}
