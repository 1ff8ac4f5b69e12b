//! The command line: `wakumix-conformance`, and `wakumix conformance`, which is the same.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde_json::json;
use wakumix_sphinx::Profile;

use crate::{FileReport, GenerateError, check_file, generate, render_text};

/// Check vector files of the mix wire format against this implementation, or write one
///
/// A vector file is a JSON object: `meta` names the wire profile, every other field is a section of recorded inputs and
/// outputs. Each entry is built and opened here and compared byte for byte; a failure names the section, the entry, the
/// hop and the field, with what was expected and what came out.
///
/// Counts for each section: `passed`; `failed`; `stricter`, where this implementation refuses by a named rule what the
/// recorded one accepts; `not checked`, of unknown kind. Exit code 1 when anything failed or a file held nothing to check.
///
/// To test an implementation of your own, write a file with --generate and compare with what yours makes of its inputs,
/// or record your own in the same form and check it here.
#[derive(Debug, clap::Args)]
pub struct ConformanceArgs {
    /// Vector files: JSON, or JSON compressed with xz
    #[arg(value_name = "FILE", required_unless_present = "generate", conflicts_with = "generate")]
    files: Vec<PathBuf>,
    /// Print one JSON object instead of tables
    #[arg(long, conflicts_with = "generate")]
    json: bool,
    /// Write the vector file of this seed; the same seed and profile give the same file
    #[arg(long, value_name = "SEED")]
    generate: Option<u64>,
    /// Wire profile of the written file: lioness/pad, lioness/seq, aes-ctr/seq, or the name of a fleet
    #[arg(long, value_name = "PROFILE", requires = "generate", conflicts_with = "files", default_value_t)]
    profile: Profile,
    /// Where to write it [default: standard output]
    #[arg(long, short, value_name = "FILE", requires = "generate", conflicts_with = "files")]
    output: Option<PathBuf>,
}

/// Why a command did not do its work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConformanceError {
    /// Something is wrong with what was given.
    #[error("{message}")]
    Input {
        /// What is wrong.
        message: String,
        /// What to do.
        help: &'static str,
    },
    /// It failed while writing vectors.
    #[error("the vectors of seed {seed} cannot be made: {source}")]
    Generate {
        /// Of the vectors.
        seed: u64,
        /// Why.
        source: GenerateError,
    },
    /// It failed while writing its output.
    #[error("the output cannot be written: {0}")]
    Output(#[from] io::Error),
}

impl ConformanceArgs {
    /// Checks or writes vector files; what it has to say goes to `out`.
    ///
    /// # Errors
    /// [`ConformanceError::Input`] if a file did not pass or cannot be written, the others if the command itself failed.
    pub fn run(&self, out: &mut impl Write) -> Result<(), ConformanceError> {
        match self.generate {
            Some(seed) => self.write(seed, out),
            None => self.check(out),
        }
    }

    fn check(&self, out: &mut impl Write) -> Result<(), ConformanceError> {
        let reports: Vec<FileReport> = self.files.iter().map(check_file).collect();
        let bad: Vec<&str> = reports.iter().filter(|report| !report.ok()).map(|report| report.file.as_str()).collect();
        if self.json {
            writeln!(out, "{:#}", json!({ "ok": bad.is_empty(), "files": reports }))?;
        } else {
            out.write_all(render_text(&reports).as_bytes())?;
        }
        if bad.is_empty() {
            return Ok(());
        }
        let message = format!("{} of {} vector files did not pass: {}", bad.len(), reports.len(), bad.join(", "));
        Err(ConformanceError::Input { message, help: "the report says which entries, hops and fields differ" })
    }

    fn write(&self, seed: u64, out: &mut impl Write) -> Result<(), ConformanceError> {
        let text = generate(seed, self.profile).map_err(|source| ConformanceError::Generate { seed, source })?;
        match &self.output {
            Some(path) => write_file(path, &text),
            None => Ok(out.write_all(text.as_bytes())?),
        }
    }
}

fn write_file(path: &Path, text: &str) -> Result<(), ConformanceError> {
    std::fs::write(path, text).map_err(|error| ConformanceError::Input {
        message: format!("vector file {} cannot be written: {error}", path.display()),
        help: "name a file in a folder that you may write to",
    })
}
