//! The process's logger: one line per event on standard error, as text or as JSON.
//!
//! A level without a target is for this program's own crates. Libraries stay at `warn` until a filter names them: from
//! `info` on, those of libp2p tell which peer, address and message an event belongs to, and a log that is turned up to
//! find a fault must not become a record of which peers talked to each other (`docs/privacy.md`). Of what they warn of, each place in their
//! code has ten lines per minute; [`lines_left_out`] counts the others.

mod named;
mod sampled;

use std::ffi::OsStr;
use std::io::IsTerminal as _;
use std::sync::{
    OnceLock,
    atomic::{AtomicBool, Ordering},
};

use tracing::level_filters::LevelFilter;
use tracing::{Dispatch, dispatcher};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::{Registry, reload};

use named::Named;
use sampled::Sampled;
pub use sampled::lines_left_out;

/// Form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// For people; coloured on a terminal.
    #[default]
    Text,
    /// One JSON object per line, for collectors.
    Json,
}

/// Why logging could not be set up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoggingError {
    /// A level is not one of the known words.
    #[error(
        "\"{0}\" is not a log level; use trace, debug, info, notice, warn, error, fatal or none, \
         alone or as target=level, separated by commas"
    )]
    Level(String),
    /// An entry has a level but no target.
    #[error("\"{0}\" names no target before its level; write target=level")]
    Target(String),
    /// Two entries give a level for everything.
    #[error("the log level for all targets is given twice: \"{0}\"")]
    TwoDefaults(String),
    /// The process has a logger already.
    #[error("a logger is already installed in this process")]
    AlreadyInstalled,
    /// The program logs in its own way, or not at all.
    #[error("the log of this process is not that of the node, so its level cannot be changed here")]
    NotInstalled,
}

/// What the targets of this program's own crates begin with.
const OWN_TARGETS: &str = "wakumix";
/// The most that libraries tell when no filter names them.
const LIBRARIES: LevelFilter = LevelFilter::WARN;
/// Libraries that tell what remotes send, as often as these like. Gossipsub's warnings show whole messages with the peer that they
/// were for ("Send Queue full"); an HTTP server's errors are requests that were none, each of which was answered with 400.
const QUIETER: [(&str, LevelFilter); 2] = [("libp2p_gossipsub", LevelFilter::ERROR), ("actix_http", LevelFilter::OFF)];

/// Whether the lines of this process are JSON.
static IS_JSON: AtomicBool = AtomicBool::new(false);

/// Changes which lines pass.
type FilterHandle = reload::Handle<Targets, Registry>;

/// That of the process's logger.
static FILTER: OnceLock<FilterHandle> = OnceLock::new();

/// Starts logging for the whole process.
///
/// `level` is one level and any number of `target=level`, separated by commas: `debug,libp2p_swarm=info`. The words are
/// tracing's and nwaku's, in any case. The level alone is for this program's own crates, `info` when there is none;
/// libraries tell warnings and errors at most, unless a target names them. A target stands for all that begin with it.
///
/// With a name, each line begins with it, or has it as the field `node`.
///
/// # Errors
/// When the filter has a mistake, or a logger is installed already.
pub fn init(format: Format, level: &str, name: Option<&str>) -> Result<(), LoggingError> {
    let filter = parse_filter(level)?;
    let variable = |name: &str| std::env::var_os(name).unwrap_or_default();
    let colour = std::io::stderr().is_terminal() && may_colour(&variable("NO_COLOR"), &variable("TERM"));
    let (subscriber, handle) = subscriber(format, filter, colour, Named::new(std::io::stderr, name, format));
    dispatcher::set_global_default(subscriber).map_err(|_| LoggingError::AlreadyInstalled)?;
    // A process has one logger, so nobody was before.
    let _ = FILTER.set(handle);
    IS_JSON.store(format == Format::Json, Ordering::Relaxed);
    Ok(())
}

/// Whether lines are JSON objects: whatever else goes to standard error should be one as well.
pub fn is_json() -> bool {
    IS_JSON.load(Ordering::Relaxed)
}

/// What users of a terminal say of colours: <https://no-color.org>, and a terminal that knows no escape sequences.
fn may_colour(no_color: &OsStr, term: &OsStr) -> bool {
    no_color.is_empty() && term != "dumb"
}

/// Logs with another filter from now on; `level` is as [`init`] takes it.
///
/// # Errors
/// When the filter has a mistake, or [`init`] has not started this process's log.
pub fn set_level(level: &str) -> Result<(), LoggingError> {
    let filter = parse_filter(level)?;
    let handle = FILTER.get().ok_or(LoggingError::NotInstalled)?;
    handle.reload(filter).map_err(|_| LoggingError::NotInstalled)
}

/// Checks a filter as [`init`] does, without starting anything.
///
/// # Errors
/// When the filter has a mistake.
pub fn check(level: &str) -> Result<(), LoggingError> {
    parse_filter(level).map(drop)
}

fn subscriber<W>(format: Format, filter: Targets, colour: bool, writer: W) -> (Dispatch, FilterHandle)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(filter);
    let registry = tracing_subscriber::registry().with(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let dispatch = match format {
        Format::Text => Dispatch::new(registry.with(lines.with_ansi(colour).with_filter(Sampled::default()))),
        Format::Json => Dispatch::new(registry.with(lines.json().flatten_event(true).with_filter(Sampled::default()))),
    };
    (dispatch, handle)
}

/// tracing's own parser takes a misspelt level for a target and lets everything of it pass, so this one is ours.
fn parse_filter(text: &str) -> Result<Targets, LoggingError> {
    let mut targets = Targets::new();
    let mut default = None;
    for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        match entry.split_once('=') {
            Some((target, level)) if !target.trim().is_empty() => {
                targets = targets.with_target(target.trim(), parse_level(level)?);
            }
            Some(_) => return Err(LoggingError::Target(entry.to_owned())),
            None if default.is_none() => default = Some(parse_level(entry)?),
            None => return Err(LoggingError::TwoDefaults(text.to_owned())),
        }
    }
    let own = default.unwrap_or(LevelFilter::INFO);
    let quieter = QUIETER.map(|(target, limit)| (target, own.min(limit)));
    for (target, level) in std::iter::once((OWN_TARGETS, own)).chain(quieter) {
        if !targets.iter().any(|(named, _)| target.starts_with(named)) {
            targets = targets.with_target(target, level);
        }
    }
    Ok(targets.with_default(own.min(LIBRARIES)))
}

/// `notice`, `fatal` and `none` are nwaku's words.
fn parse_level(word: &str) -> Result<LevelFilter, LoggingError> {
    match word.trim().to_ascii_lowercase().as_str() {
        "trace" => Ok(LevelFilter::TRACE),
        "debug" => Ok(LevelFilter::DEBUG),
        "info" | "notice" => Ok(LevelFilter::INFO),
        "warn" => Ok(LevelFilter::WARN),
        "error" | "fatal" => Ok(LevelFilter::ERROR),
        "none" | "off" => Ok(LevelFilter::OFF),
        _ => Err(LoggingError::Level(word.trim().to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: Format, filter: &str) -> String {
        let captured = Captured::default();
        let writer = captured.clone();
        let (dispatch, _) = subscriber(format, parse_filter(filter).unwrap(), false, move || writer.clone());
        dispatcher::with_default(&dispatch, || {
            tracing::info!(target: "wakumix_x", packets = 3, "kept");
            tracing::info!(target: "wakumix_noisy", "chatter");
            tracing::error!(target: "wakumix_noisy", "trouble");
            tracing::info!(target: "libp2p_swarm", "address");
            tracing::warn!(target: "libp2p_swarm", "warning");
            tracing::warn!(target: "libp2p_gossipsub::behaviour", "whole message");
            tracing::error!(target: "actix_http::h1::dispatcher", "request that was none");
        });
        let bytes = captured.0.lock().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_target_can_be_quieter_than_the_rest() {
        let text = logged(Format::Text, "Info, wakumix_noisy=WARN");
        assert!(text.contains("kept") && text.contains("trouble"), "{text}");
        assert!(!text.contains("chatter"), "{text}");
    }

    #[test]
    fn libraries_tell_no_more_than_warnings_until_they_are_named() {
        for level in ["info", "trace", "wakumix=debug"] {
            let text = logged(Format::Text, level);
            assert!(text.contains("kept") && text.contains("warning"), "{text}");
            for noise in ["address", "whole message", "request that was none"] {
                assert!(!text.contains(noise), "{text}");
            }
        }
        let text = logged(Format::Text, "info,libp2p=debug,actix_http=error");
        for asked_for in ["address", "whole message", "request that was none"] {
            assert!(text.contains(asked_for), "{text}");
        }
        assert!(!logged(Format::Text, "error").contains("warning"));
    }

    #[test]
    fn the_level_changes_while_the_process_runs() {
        let captured = Captured::default();
        let writer = captured.clone();
        let (dispatch, handle) = subscriber(Format::Text, parse_filter("info").unwrap(), false, move || writer.clone());
        dispatcher::with_default(&dispatch, || {
            for (level, words) in [("info", "first"), ("debug", "second"), ("error", "third"), ("INFO", "fourth")] {
                handle.reload(parse_filter(level).unwrap()).unwrap();
                tracing::debug!(target: "wakumix_x", words, "detail");
                tracing::info!(target: "wakumix_x", words, "event");
            }
        });
        let text = String::from_utf8(captured.0.lock().clone()).unwrap();
        let lines: Vec<_> = text.lines().map(|line| (line.contains("detail"), line.contains("event"))).collect();
        assert_eq!(lines, [(false, true), (true, false), (false, true), (false, true)], "{text}");
        assert!(text.contains("second") && text.contains("fourth") && !text.contains("third"), "{text}");
        // A process without this log.
        assert_eq!(set_level("debug"), Err(LoggingError::NotInstalled));
        assert_eq!(set_level("loud"), Err(LoggingError::Level("loud".into())));
    }

    #[test]
    fn what_a_library_warns_of_again_and_again_is_left_out() {
        let captured = Captured::default();
        let writer = captured.clone();
        let filter = parse_filter("info").unwrap();
        let (dispatch, _) = subscriber(Format::Text, filter, false, move || writer.clone());
        let before = lines_left_out();
        dispatcher::with_default(&dispatch, || {
            for _ in 0..100 {
                tracing::warn!(target: "discv5::handler", "forged packet");
                tracing::warn!(target: "wakumix_x", "own warning");
            }
        });
        let text = String::from_utf8(captured.0.lock().clone()).unwrap();
        let count = |words| text.matches(words).count();
        assert_eq!((count("forged packet"), count("own warning")), (10, 100));
        assert_eq!(lines_left_out() - before, 90);
    }

    #[test]
    fn json_lines_are_objects_with_the_fields_of_the_event() {
        let text = logged(Format::Json, "info,wakumix_noisy=none,libp2p=none");
        let line: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
        assert_eq!(line["message"], "kept");
        assert_eq!(line["packets"], 3);
        assert_eq!(line["level"], "INFO");
    }

    #[test]
    fn lines_begin_with_the_name_of_the_node_or_have_it_as_a_field() {
        let logged = |format| {
            let captured = Captured::default();
            let writer = captured.clone();
            let writer = Named::new(move || writer.clone(), Some("mixer-1"), format);
            let (dispatch, _) = subscriber(format, parse_filter("info").unwrap(), false, writer);
            dispatcher::with_default(&dispatch, || {
                tracing::info!(target: "wakumix_x", "one");
                tracing::info!(target: "wakumix_x", "two");
            });
            String::from_utf8(captured.0.lock().clone()).unwrap()
        };
        let text = logged(Format::Text);
        assert!(text.lines().count() == 2 && text.lines().all(|line| line.starts_with("mixer-1  2")), "{text}");
        for line in logged(Format::Json).lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!((&line["node"], &line["level"]), (&"mixer-1".into(), &"INFO".into()));
        }
    }

    #[test]
    fn colours_are_left_out_where_nobody_wants_them() {
        let may = |no_color: &str, term: &str| may_colour(OsStr::new(no_color), OsStr::new(term));
        assert!(may("", "xterm-256color") && may("", ""));
        assert!(!may("1", "xterm-256color") && !may("", "dumb"));
    }

    #[test]
    fn accepts_the_words_of_nwaku() {
        for word in ["TRACE", "DEBUG", "INFO", "NOTICE", "WARN", "ERROR", "FATAL", "NONE"] {
            assert_eq!(check(word), Ok(()), "{word}");
        }
    }

    #[test]
    fn a_misspelt_level_is_an_error_and_not_a_target() {
        assert_eq!(check("inof"), Err(LoggingError::Level("inof".into())));
        assert_eq!(check("info,libp2p=loud"), Err(LoggingError::Level("loud".into())));
        assert_eq!(check("=debug"), Err(LoggingError::Target("=debug".into())));
        assert_eq!(check("info,debug"), Err(LoggingError::TwoDefaults("info,debug".into())));
    }
}
