//! The flags of a configuration, made from the table of keys: their names cannot drift from those in files.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, builder::ValueParser};

use crate::config::{
    Flag, Inputs, SWITCHES, SYNONYMS, WITHOUT_EFFECT,
    kind::Kind,
    schema::{self, KEYS, Key, capitalised},
};

/// `--config` and one flag for every key.
#[derive(Clone, Debug, Default)]
pub struct ConfigArgs {
    file: Option<PathBuf>,
    flags: Vec<Flag>,
}

const FILE: &str = "config";
const FLEET: &str = "Other names";

impl ConfigArgs {
    /// These flags over the process's environment.
    pub fn inputs(&self) -> Inputs {
        Inputs { file: self.file.clone(), flags: self.flags.clone(), ..Inputs::from_process() }
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
        let command = command.arg(file).args(KEYS.iter().map(key_flag));
        let switches = SWITCHES.iter().map(|switch| {
            boolean(Arg::new(switch.name).long(switch.name).help_heading(FLEET).help(capitalised(switch.doc)))
        });
        let synonyms = SYNONYMS.iter().filter_map(|(name, path)| {
            let key = schema::find(path)?;
            let help = format!("Other name of --{path}");
            Some(valued(key, Arg::new(*name).long(*name)).help_heading(FLEET).help(help))
        });
        let ignored =
            WITHOUT_EFFECT.iter().map(|name| boolean(Arg::new(*name).long(*name).hide(true).action(ArgAction::Append)));
        command.args(switches).args(synonyms).args(ignored)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for ConfigArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let names = KEYS
            .iter()
            .map(|key| key.path)
            .chain(SWITCHES.iter().map(|switch| switch.name))
            .chain(SYNONYMS.iter().map(|(name, _)| *name))
            .chain(WITHOUT_EFFECT.iter().copied());
        let flags = names.filter_map(|name| {
            let values = matches.get_many::<String>(name)?.cloned().collect();
            Some(Flag { name: name.to_owned(), values })
        });
        Ok(Self { file: matches.get_one::<PathBuf>(FILE).cloned(), flags: flags.collect() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn key_flag(key: &Key) -> Arg {
    let default = match key.default {
        None | Some("") => String::new(),
        Some(default) => format!(" [default: {default}]"),
    };
    valued(key, Arg::new(key.path).long(key.path))
        .help_heading(key.group.title())
        .help(format!("{}{default}", key.sentence()))
}

/// Gives a flag the values that its key takes.
fn valued(key: &Key, flag: Arg) -> Arg {
    let flag = flag.value_name(key.kind.placeholder());
    match key.kind {
        Kind::Bool => boolean(flag),
        _ if key.many => flag.action(ArgAction::Append).num_args(1),
        _ => flag.num_args(1),
    }
}

/// `--rest`, `--rest=true`, `--rest True`: as the fleet's command line has it.
fn boolean(flag: Arg) -> Arg {
    flag.value_name("BOOL").num_args(0..=1).default_missing_value("true")
}
