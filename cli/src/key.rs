//! `wakumix key new` and `wakumix key show`.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use clap::Subcommand;

use wakumix_node::keys::{self, KeyKind, Secret};

use super::Failure;

/// Make or show keys.
#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Make a new key
    ///
    /// Writes it to a new file that only its owner can read, and prints the public half. A file that exists is never
    /// overwritten.
    New {
        /// What the key is for
        #[arg(long, value_enum, default_value = "node")]
        kind: KeyKind,
        /// The file [default: node.key or mix.key]
        #[arg(long, short, value_name = "FILE", conflicts_with = "stdout")]
        output: Option<PathBuf>,
        /// Print the secret key to standard output and write no file
        #[arg(long)]
        stdout: bool,
    },
    /// Show what is public of a key file
    Show {
        /// The key file
        file: PathBuf,
        /// What the key is for [default: both readings]
        #[arg(long, value_enum)]
        kind: Option<KeyKind>,
    },
}

impl KeyCommand {
    pub(super) fn run(&self, out: &mut impl Write) -> Result<(), Failure> {
        match self {
            Self::New { kind, stdout: true, .. } => {
                writeln!(out, "{}", keys::new_key(*kind)?.expose())?;
            }
            Self::New { kind, output, .. } => {
                let default = PathBuf::from(format!("{}.key", kind.name()));
                let path = output.as_ref().unwrap_or(&default);
                let secret = keys::create_key_file(path, *kind)?;
                writeln!(out, "file      {}", path.display())?;
                describe(*kind, &secret, Some(path), out)?;
            }
            Self::Show { file, kind } => {
                let secret = keys::read_key_file(file)?;
                match kind {
                    Some(kind) => describe(*kind, &secret, Some(file), out)?,
                    None => describe_both(&secret, out)?,
                }
            }
        }
        Ok(())
    }
}

/// The public half of a key, and where it is written in configurations.
fn describe(kind: KeyKind, secret: &Secret, file: Option<&Path>, out: &mut impl Write) -> Result<(), Failure> {
    match kind {
        KeyKind::Node => {
            let peer = keys::parse_node_key(secret.expose())?.public().to_peer_id();
            writeln!(out, "peer id   {peer}")?;
            writeln!(out, "others    staticnode = [\"/ip4/<this host>/tcp/60000/p2p/{peer}\"]")?;
        }
        KeyKind::Mix => {
            let public = keys::parse_mix_key(secret.expose())?.public();
            writeln!(out, "mix key   {public} (public)")?;
            writeln!(out, "others    mixnode = [\"/ip4/<this host>/tcp/60000/p2p/<peer id>:{public}\"]")?;
        }
    }
    if let Some(file) = file {
        writeln!(out, "here      {}key-file = \"{}\"", kind.name(), file.display())?;
    }
    Ok(())
}

/// A file does not say what its key is for: both readings, the second only where there is one.
fn describe_both(secret: &Secret, out: &mut impl Write) -> Result<(), Failure> {
    let is_mix = keys::parse_mix_key(secret.expose()).is_ok();
    match keys::parse_node_key(secret.expose()) {
        Ok(_) => {
            writeln!(out, "as the key of a node:")?;
            describe(KeyKind::Node, secret, None, out)?;
        }
        Err(error) if !is_mix => return Err(error.into()),
        Err(_) => {}
    }
    if is_mix {
        writeln!(out, "as a mix key:")?;
        describe(KeyKind::Mix, secret, None, out)?;
    }
    Ok(())
}
