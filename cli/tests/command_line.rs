//! The binary as a script sees it: exit codes, and what goes to which stream.

use std::{
    io,
    process::{Command, Output},
};

fn wakumix(arguments: &[&str]) -> io::Result<Output> {
    Command::new(env!("CARGO_BIN_EXE_wakumix")).args(arguments).env_clear().output()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn success_is_0_and_prints_to_standard_output_only() {
    let output = wakumix(&["config", "check"]).unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).starts_with("ok\n"));
    assert!(output.stderr.is_empty());
}

#[test]
fn bad_configuration_is_1_and_prints_to_standard_error_only() {
    let output = wakumix(&["config", "check", "--tcp-port", "x"]).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).starts_with("error: `tcp-port` in flag --tcp-port"));
    assert!(output.stdout.is_empty());
}

#[test]
fn a_wrong_command_line_is_2() {
    assert_eq!(wakumix(&["config", "check", "--no-such-key"]).unwrap().status.code(), Some(2));
    assert_eq!(wakumix(&["no-such-command"]).unwrap().status.code(), Some(2));
}

#[test]
fn the_environment_is_read() {
    let output = Command::new(env!("CARGO_BIN_EXE_wakumix"))
        .args(["config", "show"])
        .env_clear()
        .env("WAKUMIX_MIX__DELAY", "7ms")
        .output()
        .unwrap();
    assert!(text(&output.stdout).contains("delay = \"7ms\"  # environment variable WAKUMIX_MIX__DELAY"));
}
