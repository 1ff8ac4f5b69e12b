//! The wakumix binary, built together with the tests that start it.

use std::process::ExitCode;

use wakumix::Roles;

fn main() -> ExitCode {
    wakumix::run(&Roles::built_in(), std::env::args_os())
}
