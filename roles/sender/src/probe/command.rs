//! `wakumix probe`: loops from a running sender through each node of its pool and back.

#[cfg(test)]
mod tests;

use std::{
    io::{self, BufRead, BufReader, Write},
    time::Duration,
};

use clap::{ArgMatches, Args as _, FromArgMatches as _};
use wakumix_role_api::command::{CommandContext, CommandError, DEFAULT_NODE, Layout, Side, Subcommand, short_peer};

use super::route::{AskedJson, DEFAULT_LOOPS, LatencyJson, MAX_LOOPS, ProbeJson, ProbedJson};

/// How long a node may take to begin its answer.
const LIMIT: Duration = Duration::from_secs(10);

/// Test each mix node in the pool of a running sender
///
/// Packets go through each node and back, like replies of the mixnet, in turns as the first and as the last hop before
/// the sender; the other hop is drawn. A loss may therefore be the other hop's: nodes that lose more than the rest are
/// to blame. A line is printed as each node is done. The sender must serve its admin interface: REST on loopback, or
/// rest-admin = true.
#[derive(Debug, clap::Args)]
struct ProbeCommand {
    /// REST address of the sender
    #[arg(long, value_name = "NODE", default_value = DEFAULT_NODE)]
    via: String,
    /// Packets through each node
    #[arg(long, value_name = "N", default_value_t = DEFAULT_LOOPS, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_LOOPS)))]
    loops: u32,
    /// Print one JSON object a line: what is going to be done, then each node
    #[arg(long)]
    json: bool,
}

/// The subcommand, for the factory.
pub(crate) fn command() -> Subcommand {
    let run = |matches: &ArgMatches, context: &mut CommandContext<'_>| {
        let command = ProbeCommand::from_arg_matches(matches);
        command.map_err(|error| CommandError::while_running(error.to_string()))?.run(context)
    };
    Subcommand { command: || ProbeCommand::augment_args(clap::Command::new("probe")), run }
}

impl ProbeCommand {
    fn run(&self, context: &mut CommandContext<'_>) -> Result<(), CommandError> {
        let node = (context.connect)(&self.via, LIMIT)?;
        let asked = AskedJson { loops: self.loops, ..AskedJson::default() };
        let asked = serde_json::to_value(&asked).map_err(io::Error::from)?;
        let answer = node.post("/admin/v1/probe", &asked)?;
        let mut report = Report { out: &mut *context.out, json: self.json, probed: 0, returned: 0, left: 0 };
        let mut lines = BufReader::new(answer).lines();
        let head: ProbeJson = parse(lines.next())?;
        report.begin(&head)?;
        for line in lines {
            report.add(&parse(Some(line))?)?;
        }
        report.finish(&head)
    }
}

/// Prints what is known so far.
struct Report<'a> {
    out: &'a mut dyn Write,
    json: bool,
    probed: usize,
    returned: u64,
    /// Loops that left, whether they came back or not.
    left: u64,
}

impl Report<'_> {
    fn begin(&mut self, head: &ProbeJson) -> Result<(), CommandError> {
        if self.json {
            return self.line(head);
        }
        let ProbeJson { nodes, loops, timeout_ms } = head;
        writeln!(self.out, "{nodes} nodes, {loops} loops each, {} s for a loop", *timeout_ms as f64 / 1000.0)?;
        self.row(&HEAD.map(str::to_owned))
    }

    fn add(&mut self, node: &ProbedJson) -> Result<(), CommandError> {
        self.probed += 1;
        self.returned += u64::from(node.returned);
        self.left += u64::from(node.returned) + u64::from(node.lost);
        if self.json { self.line(node) } else { self.row(&row(node)) }
    }

    /// A run that ended early, or in which no loop left, has failed.
    fn finish(self, head: &ProbeJson) -> Result<(), CommandError> {
        if !self.json {
            let lost = self.left - self.returned;
            writeln!(self.out, "{} of {} nodes done: {} of {} loops lost", self.probed, head.nodes, lost, self.left)?;
        }
        if self.probed > head.nodes {
            return Err(CommandError::while_running("the node reported more nodes than it was to probe"));
        }
        if self.probed < head.nodes {
            let missing = head.nodes - self.probed;
            return Err(CommandError::while_running(format!(
                "the node stopped with {missing} nodes still to be probed"
            )));
        }
        if self.left == 0 {
            return Err(CommandError::while_running("nothing could be probed: no loop left the node"));
        }
        Ok(())
    }

    fn line(&mut self, value: &impl serde::Serialize) -> Result<(), CommandError> {
        let text = serde_json::to_string(value).map_err(io::Error::from)?;
        writeln!(self.out, "{text}")?;
        Ok(self.out.flush()?)
    }

    /// Rows come one by one, so the columns are as wide as what they can hold.
    fn row(&mut self, row: &[String; 7]) -> Result<(), CommandError> {
        let widest = ["16U*AfjgbWM6o", "100", "100%", "60000", "60000", "60000", ""].map(str::to_owned);
        let mut sides = [Side::Right; 7];
        (sides[0], sides[6]) = (Side::Left, Side::Left);
        Layout::of(sides, [&widest, &HEAD.map(str::to_owned)]).write(self.out, row)?;
        Ok(self.out.flush()?)
    }
}

/// Times are milliseconds.
const HEAD: [&str; 7] = ["NODE", "BACK", "LOSS", "MIN", "MEAN", "MAX", "NOT SENT"];

fn row(node: &ProbedJson) -> [String; 7] {
    // What the node says is not to be trusted to add up.
    let lost = u64::from(node.lost);
    let percent = (lost * 100).checked_div(u64::from(node.returned) + lost);
    let loss = percent.map_or_else(|| "-".to_owned(), |percent| format!("{percent}%"));
    let time =
        |of: fn(&LatencyJson) -> u64| node.latency_ms.as_ref().map_or("-".to_owned(), |time| of(time).to_string());
    let not_sent = match &node.error {
        Some(error) => format!("{} ({error})", node.failed),
        None => String::new(),
    };
    [
        short_peer(&node.peer_id),
        node.returned.to_string(),
        loss,
        time(|time| time.min),
        time(|time| time.mean),
        time(|time| time.max),
        not_sent,
    ]
}

/// Reads one line of the answer.
fn parse<T: serde::de::DeserializeOwned>(line: Option<io::Result<String>>) -> Result<T, CommandError> {
    let broken = |words: String| {
        let help = Some("check that the node still runs; its log says why it stopped".to_owned());
        CommandError::Runtime { message: format!("the answer broke off: {words}"), help }
    };
    let line = line.ok_or_else(|| broken("it is empty".to_owned()))?.map_err(|error| broken(error.to_string()))?;
    serde_json::from_str(&line).map_err(|error| broken(error.to_string()))
}
