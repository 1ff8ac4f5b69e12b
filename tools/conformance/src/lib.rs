//! Checks and writes vector files of the mix wire format, so that implementations can be compared without talking to
//! each other.
//!
//! A vector file is one JSON object: `meta` names the wire profile, every other field is a section of recorded inputs
//! and outputs (`vectors/README.md` says which files came out of the compiled reference).
//! [`check_str`] and [`check_file`] run this implementation on each entry and compare every recorded byte, building
//! and opening; [`generate`] writes such a file from this implementation; [`render_text`] makes reports readable.
//!
//! Contract:
//! - nothing panics on any input; what cannot be read is a failure with its place, or the report's `error`;
//! - sections and constants of unknown name are counted as not checked, unknown fields of an entry are tolerated;
//! - where the recorded reference accepts what `spec/mix-wire.md §21` tells us to refuse, or decides by a bug of its
//!   time, the entry counts as stricter, under the name of the [`Rule`], and all of its other bytes are still compared;
//! - nothing is printed: [`ConformanceArgs`] writes to what it is given.
//!
//! The library reads files but no clock, network or random source. Non-goal: speed.

mod block;
mod check;
mod command;
mod file;
mod fragments;
mod generate;
mod hops;
mod json;
mod messages;
mod meta;
mod nodes;
mod packets;
mod primitives;
mod raw;
mod reject;
mod render;
mod reply;
mod report;
mod rules;
mod runs;
mod section;
mod show;

pub use check::{check_file, check_str};
pub use command::{ConformanceArgs, ConformanceError};
pub use file::read_text;
pub use generate::{GenerateError, generate};
pub use render::{render_json, render_text};
pub use report::{FileReport, SectionReport, Totals, VectorFailure};
pub use rules::Rule;
