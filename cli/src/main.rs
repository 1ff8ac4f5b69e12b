//! The wakumix binary.

use std::process::ExitCode;

use wakumix::Roles;

fn main() -> ExitCode {
    wakumix::run(&Roles::built_in(), std::env::args_os())
}
