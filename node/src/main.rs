//! The wakumix binary.

use std::process::ExitCode;

use wakumix::roles::Roles;

fn main() -> ExitCode {
    wakumix::cli::run(&Roles::built_in(), std::env::args_os())
}
