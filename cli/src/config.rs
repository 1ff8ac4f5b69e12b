//! `wakumix config check` and `wakumix config show`.

use std::io::{self, Write};

use clap::Subcommand;
use wakumix_node::{
    config::{self, Loaded, PortUse, ShowFormat},
    roles::Roles,
};

use super::{ConfigArgs, Failure};

/// Check or show a configuration.
#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Report everything that is wrong with a configuration, or print `ok` and a summary
    ///
    /// Reads the key files too. Exit code 1 when something is wrong.
    Check {
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Print the configuration in force, each value with its source
    ///
    /// Secrets are left out. The TOML form is a configuration file.
    Show {
        /// Print every key with its default and its meaning instead
        #[arg(long)]
        defaults: bool,
        /// Form of the output
        #[arg(long, value_enum, default_value = "toml")]
        format: ShowFormat,
        #[command(flatten)]
        config: ConfigArgs,
    },
}

impl ConfigCommand {
    pub(super) fn run(&self, roles: &Roles, out: &mut impl Write) -> Result<(), Failure> {
        match self {
            Self::Check { config } => {
                let loaded = config::load(&config.inputs(roles))?;
                warn(&loaded)?;
                summary(&loaded, out)?;
            }
            Self::Show { defaults: true, format, .. } => {
                out.write_all(config::show_defaults(roles, *format)?.as_bytes())?;
            }
            Self::Show { format, config, .. } => {
                let loaded = config::load(&config.inputs(roles))?;
                warn(&loaded)?;
                out.write_all(config::show(&loaded, *format).as_bytes())?;
            }
        }
        Ok(())
    }
}

/// Prints what is probably not meant beside the output proper.
pub(super) fn warn(loaded: &Loaded) -> io::Result<()> {
    let mut out = io::stderr().lock();
    loaded.warnings.iter().try_for_each(|warning| writeln!(out, "warning: {warning}"))
}

fn summary(loaded: &Loaded, out: &mut impl Write) -> io::Result<()> {
    let Loaded { config, keys, .. } = loaded;
    let roles: Vec<&str> = config.roles.iter().map(|role| role.as_str()).collect();
    let shards: Vec<String> = config.shard.iter().map(ToString::to_string).collect();
    writeln!(out, "ok")?;
    writeln!(out, "roles     {}", roles.join(", "))?;
    writeln!(out, "peer id   {}", keys.peer())?;
    if let Some(key) = &keys.mix {
        writeln!(out, "mix key   {} (public)", key.public())?;
        writeln!(out, "profile   {}", config.profiles_text())?;
        writeln!(out, "mix pool  {} entries", config.mixnode.len())?;
    }
    writeln!(out, "network   cluster {}, shards {}", config.cluster_id, shards.join(", "))?;
    for PortUse { key, address, transport, port } in config.ports() {
        let transport = format!("{transport:?}").to_lowercase();
        writeln!(out, "binds     {address} {transport} {port} ({key})")?;
    }
    Ok(())
}
