//! The wakumix binary, built together with the tests that start it.

use std::process::ExitCode;

fn main() -> ExitCode {
    wakumix::cli::run(std::env::args_os())
}
