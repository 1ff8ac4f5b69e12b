//! The binary as a script sees it: exit codes, and what goes to which stream.

use std::{
    io::{self, Write as _},
    process::{Command, Output, Stdio},
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
fn help_is_success_only_where_it_is_asked_for() {
    for asked in [&["--help"][..], &["send", "-h"], &["send", "text", "--help"], &["help", "send"], &["-V"]] {
        let output = wakumix(asked).unwrap();
        assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0), "{asked:?}");
    }
    for not_asked in [&["send", "-hi"][..], &["send", "--content-topic", "/a/1/b/c", "-hello"], &["-vh"]] {
        let output = wakumix(not_asked).unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{not_asked:?}");
        assert!(text(&output.stderr).contains("unexpected argument '-"), "{}", text(&output.stderr));
    }
}

#[test]
fn the_version_names_the_commit() {
    let version = text(&wakumix(&["--version"]).unwrap().stdout);
    let start = format!("wakumix {}", env!("CARGO_PKG_VERSION"));
    let rest = version.trim_end().strip_prefix(&start).unwrap();
    let commit = rest.strip_prefix(" (").and_then(|rest| rest.strip_suffix(')'));
    assert!(rest.is_empty() || commit.is_some_and(|commit| (7..=12).contains(&commit.len())), "{version}");
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    for arguments in [&["config", "show", "--defaults"][..], &["--help"], &["config", "check"]] {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let mut command = Command::new(env!("CARGO_BIN_EXE_wakumix"));
        command.args(arguments).env_clear().stdout(writer).stderr(Stdio::piped());
        let output = command.spawn().and_then(std::process::Child::wait_with_output).unwrap();
        assert_eq!((text(&output.stderr).as_str(), output.status.code()), ("", Some(0)), "{arguments:?}");
    }
}

#[test]
fn bytes_of_standard_input_are_read_before_anybody_is_asked() {
    let arguments = ["send", "-", "--hex", "--content-topic", "/a/1/b/c", "--via", "127.0.0.1:1"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_wakumix"));
    command.args(arguments).env_clear().stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"xyz0").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("--hex: the payload is not hex"), "{}", text(&output.stderr));
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
