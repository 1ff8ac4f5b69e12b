//! The wakumix binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    wakumix::cli::run(std::env::args_os())
}
