//! What the user sees while the net runs: a table that redraws itself, or a line now and then where standard error is
//! no terminal.

use std::{
    fmt::Write as _,
    io::{IsTerminal as _, Write as _},
    time::Duration,
};

use tokio::{sync::oneshot, task::JoinHandle, time::Instant};

use super::{net::Counters, traffic::Tally};

const REDRAW: Duration = Duration::from_millis(250);
const LINE_EVERY: Duration = Duration::from_secs(2);
const BAR: u64 = 40;

/// Standard error, drawn on or written to.
pub(super) struct Screen {
    terminal: bool,
    drawn: usize,
}

/// The drawing task.
pub(super) struct Watch {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Screen {
    pub(super) fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), drawn: 0 }
    }

    /// One line that stays.
    pub(super) fn note(&self, line: &str) {
        eprintln!("{line}");
    }

    /// Draws over what was drawn before.
    fn draw(&mut self, text: &str) {
        // Without line wrap: on a narrow terminal the rows to go back over would be more than the lines drawn.
        let mut frame = String::from("\x1b[?7l");
        if self.drawn > 0 {
            // Formatting into a String cannot fail.
            let _ = write!(frame, "\x1b[{}A\x1b[J", self.drawn);
        }
        frame.push_str(text);
        frame.push_str("\x1b[?7h");
        self.drawn = text.lines().count();
        // A closed terminal must not stop the net.
        let _ = std::io::stderr().write_all(frame.as_bytes());
    }
}

impl Watch {
    /// Draws once more and ends.
    pub(super) async fn finish(self) {
        // The task is gone only if it panicked; there is nothing left to draw then.
        let _ = self.stop.send(());
        let _ = self.task.await;
    }
}

/// Shows the net until told to finish.
pub(super) fn watch(mut screen: Screen, counters: Counters, tally: Tally) -> Watch {
    let (stop, mut stopped) = oneshot::channel();
    let started = Instant::now();
    let period = if screen.terminal { REDRAW } else { LINE_EVERY };
    let task = tokio::spawn(async move {
        let mut beat = tokio::time::interval(period);
        loop {
            let last = tokio::select! {
                _ = &mut stopped => true,
                _ = beat.tick() => false,
            };
            if screen.terminal {
                screen.draw(&table(&counters, &tally, started.elapsed()));
            } else {
                screen.note(&line(&tally, started.elapsed()));
            }
            if last {
                return;
            }
        }
    });
    Watch { stop, task }
}

fn line(tally: &Tally, elapsed: Duration) -> String {
    let (sent, answered, failed, received) = tally.progress();
    format!(
        "{:6.1} s  sent {sent}/{}  answered {answered}  failed {failed}  received {received}/{}",
        elapsed.as_secs_f64(),
        tally.messages,
        tally.expected_receptions
    )
}

fn table(counters: &Counters, tally: &Tally, elapsed: Duration) -> String {
    let (_, answered, failed, _) = tally.progress();
    let done = answered + failed;
    let filled = (done * BAR).checked_div(tally.messages).unwrap_or(BAR);
    let bar: String = (0..BAR).map(|cell| if cell < filled { '█' } else { '░' }).collect();
    let mut text = format!("{bar}\n{}\n", line(tally, elapsed));
    text.push_str("  role    nodes  received forwarded delivered  replied     sent  dropped     held\n");
    for row in counters.rows() {
        // Formatting into a String cannot fail.
        let _ = writeln!(
            text,
            "  {:<7} {:>5} {:>9} {:>9} {:>9} {:>8} {:>8} {:>8} {:>8}",
            row.role,
            row.nodes,
            row.received,
            row.forwarded,
            row.delivered,
            row.replied,
            row.sent,
            row.dropped,
            row.held
        );
    }
    text
}
