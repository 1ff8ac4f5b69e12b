//! What the user sees while the net runs: a table that redraws itself, or a line now and then where standard error is
//! no terminal.

use std::{fmt::Write as _, io::Write as _, time::Duration};

use tokio::{sync::oneshot, task::JoinHandle, time::Instant};

use super::{counters::Counters, pools::Pools, terminal, traffic::Tally};

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
    task: JoinHandle<Screen>,
}

impl Screen {
    pub(super) fn new() -> Self {
        Self { terminal: terminal::size().is_some(), drawn: 0 }
    }

    /// Lines that stay.
    pub(super) fn note(&self, lines: &str) {
        // A closed terminal must not stop the net.
        let _ = std::io::stderr().write_all(terminal::wrapped(lines).as_bytes());
    }

    /// Draws over what was drawn before.
    fn draw(&mut self, text: &str) {
        let rows = terminal::size().map_or(usize::MAX, |(_, rows)| rows);
        let text = &terminal::fitted(text, rows);
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
    /// Draws once more and ends. What was drawn stays.
    pub(super) async fn finish(self) -> Screen {
        // The task is gone only if it panicked; there is nothing left to draw then.
        let _ = self.stop.send(());
        self.task.await.unwrap_or_else(|_| Screen::new())
    }
}

/// What is shown: of a net that starts, and then of one that sends.
#[derive(Clone)]
pub(super) struct View {
    /// The pools of the senders.
    pub(super) pools: Pools,
    /// The packets of the nodes and the outcomes, once messages are sent.
    pub(super) traffic: Option<(Counters, Tally)>,
}

impl View {
    /// One line.
    fn line(&self, elapsed: Duration) -> String {
        match &self.traffic {
            Some((_, tally)) => line(tally, elapsed),
            None => format!("{:6.1} s  {}", elapsed.as_secs_f64(), pools_line(&self.pools)),
        }
    }

    /// All there is.
    fn table(&self, elapsed: Duration) -> String {
        let mut text = self
            .traffic
            .as_ref()
            .map_or_else(|| self.line(elapsed) + "\n", |(counters, tally)| table(counters, tally, elapsed));
        text.push_str("  sender            usable  mixers  connected\n");
        for size in self.pools.sizes() {
            // Formatting into a String cannot fail.
            let _ =
                writeln!(text, "  {:<16} {:>7} {:>7} {:>10}", size.sender, size.usable, size.mixers, size.connected);
        }
        text
    }
}

/// Shows the net until told to finish; gives the screen back then.
pub(super) fn watch(mut screen: Screen, view: View, started: Instant) -> Watch {
    let (stop, mut stopped) = oneshot::channel();
    let period = if screen.terminal { REDRAW } else { LINE_EVERY };
    #[expect(clippy::disallowed_methods, reason = "the screen of a test net is no part of a node")]
    let task = tokio::spawn(async move {
        let mut beat = tokio::time::interval(period);
        // A machine that was too busy to show something does not show it several times afterwards.
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let last = tokio::select! {
                _ = &mut stopped => true,
                _ = beat.tick() => false,
            };
            if screen.terminal {
                screen.draw(&view.table(started.elapsed()));
            } else {
                screen.note(&view.line(started.elapsed()));
            }
            if last {
                screen.drawn = 0;
                return screen;
            }
        }
    });
    Watch { stop, task }
}

/// The fewest and the most that a sender has, and of how many.
fn pools_line(pools: &Pools) -> String {
    let usable = || pools.sizes().into_iter().map(|size| size.usable);
    let (Some(least), Some(most)) = (usable().min(), usable().max()) else { return "no sender".to_owned() };
    let range = if least == most { least.to_string() } else { format!("{least} to {most}") };
    format!("pools of the senders: {range} of {} nodes usable", pools.hops())
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
    text.push_str("  role    nodes  received forwarded delivered replied    sent dropped    held\n");
    for row in counters.read().rows() {
        // Formatting into a String cannot fail.
        let _ = writeln!(
            text,
            "  {:<7} {:>5} {:>9} {:>9} {:>9} {:>7} {:>7} {:>7} {:>7}",
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
