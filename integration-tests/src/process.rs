//! The real program in processes of its own.

use std::{
    io::{BufRead as _, BufReader, Read},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::Arc,
    thread::JoinHandle,
};

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::eventually;

/// A process that runs, or ran. It is killed when dropped.
pub struct Process {
    child: Child,
    stdout: Lines,
    stderr: Lines,
}

/// How a process ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it said on standard error.
    pub stderr: String,
}

/// What a process has written to one of its streams, read as it comes.
struct Lines {
    read: Arc<Mutex<Vec<String>>>,
    reader: JoinHandle<()>,
}

impl Process {
    /// Starts the program with an empty environment.
    pub fn start<S: AsRef<str>>(program: &Path, arguments: &[S]) -> Self {
        let mut child = Command::new(program)
            .args(arguments.iter().map(AsRef::as_ref))
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let stdout = Lines::follow(child.stdout.take().expect("a pipe"));
        let stderr = Lines::follow(child.stderr.take().expect("a pipe"));
        Self { child, stdout, stderr }
    }

    /// Waits for a line of standard error that contains `part`, and gives what follows it in the line.
    pub async fn says(&self, part: &str) -> String {
        eventually(async || {
            let lines = self.stderr.read.lock();
            let found = lines.iter().find_map(|line| line.split_once(part).map(|(_, rest)| rest.to_owned()));
            found.ok_or_else(|| format!("no line with {part:?}:\n{}", lines.join("\n")))
        })
        .await
    }

    /// Its number, by which the system knows it.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(id, signal).expect("the process runs");
    }

    /// Ends it at once, as SIGKILL does.
    pub fn kill(&mut self) {
        self.child.kill().expect("the process runs");
    }

    /// Waits for its end.
    pub async fn ended(mut self) -> Ended {
        let status: ExitStatus = eventually(async || {
            self.child
                .try_wait()
                .expect("it is a child")
                .ok_or_else(|| format!("the process runs on:\n{}", self.stderr.read.lock().join("\n")))
        })
        .await;
        // The streams end with the process; what it wrote last is read.
        until_finished(&self.stdout).await;
        until_finished(&self.stderr).await;
        Ended { code: status.code(), stdout: self.stdout.text(), stderr: self.stderr.text() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// The log line, of a process with `log-format = "json"`, that has this message.
    pub fn logged(&self, message: &str) -> Value {
        let lines = self.stderr.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let found = lines.into_iter().find(|line| line["message"] == message);
        found.unwrap_or_else(|| panic!("no line {message:?}:\n{}", self.stderr))
    }
}

impl Lines {
    fn follow(stream: impl Read + Send + 'static) -> Self {
        let read = Arc::<Mutex<Vec<String>>>::default();
        let lines = Arc::clone(&read);
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                lines.lock().push(line);
            }
        });
        Self { read, reader }
    }

    fn text(&self) -> String {
        self.read.lock().iter().map(|line| format!("{line}\n")).collect()
    }
}

/// Runs the program to its end.
pub async fn run_program<S: AsRef<str>>(program: &Path, arguments: &[S]) -> Ended {
    Process::start(program, arguments).ended().await
}

async fn until_finished(lines: &Lines) {
    crate::until("the end of the output", async || lines.reader.is_finished()).await;
}
