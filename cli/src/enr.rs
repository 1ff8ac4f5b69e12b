//! `wakumix enr show` and `wakumix enr decode`.

mod fields;
#[cfg(test)]
mod tests;

use std::{
    io::{self, Write},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::{Args, Subcommand};
use enr::k256::ecdsa::SigningKey;
use serde::Deserialize;
use wakumix_discovery::record_fields;
use wakumix_node::{
    config::{self, Loaded, Problem, Problems},
    node::expected_record,
    roles::Roles,
};
use wakumix_records::node_record::NodeRecord;
use wakumix_role_api::command::DEFAULT_NODE;

use super::{
    ConfigArgs, Failure,
    config::warn,
    rest::{Access, AccessArgs, RestNode},
    wait::WaitArgs,
};
use fields::RecordJson;

/// How long a node may take to answer.
const LIMIT: Duration = Duration::from_secs(10);
/// Letters of a record that a problem shows: enough to tell it from others.
const SHOWN: usize = 28;

/// Show or decode node records.
#[derive(Debug, Subcommand)]
pub(super) enum EnrCommand {
    /// Print the node record of a running node, or of a configuration
    ///
    /// Without --config, the running node at --via is asked, and the record is the one that it tells now. With --config,
    /// no node is needed: the record is the one that such a node tells once all its roles are ready, with those addresses
    /// that the configuration says.
    Show(ShowArgs),
    /// Check node records and print what they say
    ///
    /// Every record is checked; exit code 1 when one of them is wrong.
    Decode {
        /// The records, `enr:…`
        #[arg(required = true, value_name = "RECORD")]
        records: Vec<String>,
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
}

/// Which record to show, and how.
#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// REST address of the running node
    #[arg(long, value_name = "NODE", default_value = DEFAULT_NODE)]
    via: String,
    #[command(flatten)]
    access: AccessArgs,
    #[command(flatten)]
    wait: WaitArgs,
    /// Print what the record says, too
    #[arg(long)]
    fields: bool,
    /// Print a JSON object
    #[arg(long, conflicts_with = "fields")]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

impl EnrCommand {
    pub(super) fn run(&self, roles: &Roles, out: &mut impl Write) -> Result<(), Failure> {
        match self {
            Self::Show(arguments) => arguments.run(roles, out),
            Self::Decode { records, json } => decode(records, *json, out),
        }
    }
}

impl ShowArgs {
    fn run(&self, roles: &Roles, out: &mut impl Write) -> Result<(), Failure> {
        let inputs = self.config.inputs(roles);
        let record = if inputs.file.is_some() || !inputs.flags.is_empty() {
            if self.wait.is_given() {
                let help = "leave out --wait, or ask a running node with --via alone";
                return Err(Failure::Input(Problem::new("--wait: a configuration is there at once", help).into()));
            }
            let loaded = config::load(&inputs)?;
            warn(&loaded)?;
            of_configuration(&loaded)?
        } else {
            self.wait.until(|| of_node(&self.via, self.access.read()?))?
        };
        if self.json {
            return write_json(&RecordJson::of(&record), out);
        }
        writeln!(out, "{}", record.to_text())?;
        if self.fields {
            RecordJson::of(&record).write(out)?;
        }
        Ok(())
    }
}

/// The part of `GET /debug/v1/info` that is read here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Info {
    enr_uri: String,
}

fn of_node(via: &str, access: Access) -> Result<NodeRecord, Failure> {
    let node = RestNode::at(via, LIMIT, access)?;
    let Info { enr_uri } = node.get("/debug/v1/info")?.success()?.json("node record")?;
    if enr_uri.is_empty() {
        let help = "a node has one if its identity is a secp256k1 key";
        return Err(Failure::Runtime(Problem::new(format!("the node at {via} has no node record"), help)));
    }
    parse(&enr_uri).map_err(Failure::Runtime)
}

fn of_configuration(loaded: &Loaded) -> Result<NodeRecord, Failure> {
    let Loaded { config, keys, .. } = loaded;
    let local = expected_record(loaded).map_err(Failure::while_running)?;
    // Which free port is taken is known once it runs.
    let discv5 = config.discovery().discv5.filter(|discv5| discv5.listen.port() != 0);
    let endpoint = discv5.map(|discv5| discv5.endpoint(discv5.listen.port()));
    let no_key = || Problem::new("the identity is no secp256k1 key", "node records need one: wakumix key new");
    let keypair = keys.node.clone().try_into_secp256k1().map_err(|_| Failure::Input(no_key().into()))?;
    let key = SigningKey::from_slice(&keypair.secret().to_bytes()).map_err(Failure::while_running)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |elapsed| elapsed.as_secs());
    let fields = record_fields(&local, endpoint);
    let signed = fields.sign(now, &key).map_err(Failure::while_running)?;
    NodeRecord::of(&signed.record).map_err(Failure::while_running)
}

fn decode(texts: &[String], json: bool, out: &mut impl Write) -> Result<(), Failure> {
    let mut records = Vec::new();
    let mut problems = Vec::new();
    for text in texts {
        match parse(text) {
            Ok(record) => records.push(RecordJson::of(&record)),
            Err(problem) => problems.push(problem),
        }
    }
    if json {
        write_json(&records, out)?;
    } else {
        for (index, record) in records.iter().enumerate() {
            if index > 0 {
                writeln!(out)?;
            }
            record.write(out)?;
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    // What was read comes before what was not.
    out.flush()?;
    Err(Failure::Input(Problems(problems)))
}

fn parse(text: &str) -> Result<NodeRecord, Problem> {
    text.parse::<NodeRecord>().map_err(|error| {
        let mut shown: String = text.trim().chars().take(SHOWN).collect();
        if shown.len() < text.trim().len() {
            shown.push('…');
        }
        Problem::new(format!("the record `{shown}`: {error}"), "copy the whole record, from `enr:` to its end")
    })
}

fn write_json(value: &impl serde::Serialize, out: &mut impl Write) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(io::Error::from)?;
    Ok(writeln!(out, "{text}")?)
}
