//! The records of the nodes to ask first, as operators write them.

use discv5::Enr;
use wakumix_records::node_record::{NodeRecord, NodeRecordError};

use super::Discv5Config;

/// Letters of a record that an error shows: enough to find it in a file.
const SHOWN: usize = 28;

/// Why a bootstrap record cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bootstrap record `{record}` cannot be used: {problem}")]
pub struct BootstrapError {
    /// How the record begins.
    pub record: String,
    /// What is wrong with it.
    #[source]
    pub problem: BootstrapProblem,
}

/// What is wrong with a bootstrap record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BootstrapProblem {
    /// It is not the text of a record.
    #[error("a node record begins with `enr:`")]
    Scheme,
    /// It is no record.
    #[error(transparent)]
    Record(#[from] NodeRecordError),
    /// discv5 cannot ask it.
    #[error("it has no IP address with a UDP port (`ip` and `udp`), so discv5 cannot ask that node")]
    NoEndpoint,
}

/// Reads a bootstrap record, `enr:…`.
///
/// # Errors
/// [`BootstrapError`] names the record and what is wrong with it.
pub fn parse_bootstrap(text: &str) -> Result<NodeRecord, BootstrapError> {
    let text = text.trim();
    check(text).map_err(|problem| BootstrapError { record: shortened(text), problem })
}

fn check(text: &str) -> Result<NodeRecord, BootstrapProblem> {
    if !text.starts_with("enr:") {
        return Err(BootstrapProblem::Scheme);
    }
    let record: NodeRecord = text.parse()?;
    let fields = &record.fields;
    let has_endpoint = fields.ip4.zip(fields.udp4).is_some() || fields.ip6.zip(fields.udp6).is_some();
    if has_endpoint { Ok(record) } else { Err(BootstrapProblem::NoEndpoint) }
}

fn shortened(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

/// The records that discv5 is started with, those of nodes that it can ask. The configuration has refused what is wrong.
pub(super) fn records(config: &Discv5Config) -> Vec<Enr> {
    let mut records = Vec::new();
    for text in &config.bootstrap {
        match parse_bootstrap(text).map(|record| (config.reaches(&record.fields), text.trim().parse::<Enr>())) {
            Ok((true, Ok(record))) => records.push(record),
            Ok((false, Ok(_))) => {}
            Ok((_, Err(error))) => tracing::warn!(error, "a bootstrap record is left out"),
            Err(error) => tracing::warn!(%error, "a bootstrap record is left out"),
        }
    }
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first and second vector of `spec/waku.md §6.3`; the second has no address.
    const GOOD: &str = "enr:-NC4QKYtas8STkenlqBTJ3a1TTLzJA2DsGGbFlnxem9aSM2IXm-CSVZULdk2467bAyFnepnt8KP_QlfDzdaMXd_zqtwBgmlkgnY0gmlwhH8AAAGHbWl4LWtleaCdCc5iT3bo9gYmXtucyit96bQXcqbXhL3a-S_6j7p9LIptdWx0aWFkZHJzgIJyc4UAAgEAAIlzZWNwMjU2azGhA6RFtVJVBh0SYOoP8xrgnXSlpiFARmQkF9d8Rn4fSeiog3RjcILqYYN1ZHCCIymFd2FrdTIt";
    const BARE: &str = "enr:-Hy4QC73_E3B_FkZhsOakaD4pHe-U--UoGASdG9N0F3SFFUDY_jdQbud8EXVyrlOZ5pZ7VYFBDPMRCENwy87Lh74dFIBgmlkgnY0iXNlY3AyNTZrMaECvNt1jIWbWGpAWWdlLGYm1E1OjlkQk3ONoxDC5sfw8oOFd2FrdTID";

    #[test]
    fn takes_a_record_with_an_address() {
        assert_eq!(parse_bootstrap(&format!(" {GOOD}\n")).unwrap().fields.udp4, Some(9001));
        let asked = |listen: &str| {
            let bootstrap = vec![GOOD.to_owned(), BARE.to_owned(), "enr:".to_owned()];
            let listen = listen.parse().unwrap();
            records(&Discv5Config { listen, announce_ip4: None, announce_ip6: None, bootstrap, auto_update: false })
                .len()
        };
        // Its node has an address of IPv4.
        assert_eq!([asked("0.0.0.0:0"), asked("[::]:0"), asked("[::1]:0")], [1, 1, 0]);
    }

    #[test]
    fn names_the_record_and_what_is_wrong_with_it() {
        let forged = GOOD.replace("TIt", "TIs");
        let table = [
            (BARE, "`enr:-Hy4QC73_E3B_FkZhsOakaD4…` cannot be used: it has no IP address with a UDP port"),
            ("enr:-NC4", "`enr:-NC4` cannot be used: the record does not parse: "),
            ("enr:-NC4 x", "must stand URL-safe base64"),
            ("", "`` cannot be used: a node record begins with `enr:`"),
            ("/ip4/1.2.3.4/udp/9000", "a node record begins with `enr:`"),
            ("enr:é", "must stand URL-safe base64"),
            (&forged, "the record's signature is wrong"),
        ];
        for (text, expected) in table {
            let error = parse_bootstrap(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
