//! What a key accepts: reads a written value, from whatever layer, into its one canonical form.
//!
//! Environment variables and flags are text only, and fleets write `True`, `"60000"` or a lone string for a list; so
//! every scalar is read from its text, in every layer alike.

use std::net::IpAddr;

use figment::value::{Num, Value};
use ipnet::IpNet;
use libp2p_identity::PeerId;
use multiaddr::Multiaddr;
use wakumix_discovery::{
    entry::{MixNodeEntry, PeerAddress, check_dns_tree},
    parse_bootstrap,
};
use wakumix_role_api::RoleName;
use wakumix_sphinx::WireFormat;
use wakumix_telemetry::logging;

use super::{
    EntryNode, MixDelay,
    mixing::{CoverTime, Percent, PortRange},
    nat::Nat,
    presets,
    rate::RateLimit,
    values::{ByteSize, Timespan, ValueError},
};
use crate::keys;

/// The kind of value that a key takes. Bounds are inclusive.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Bool,
    Port,
    Number { min: u64, max: u64 },
    Time { min_ms: u64, max_ms: u64 },
    Size { min: u64, max: u64 },
    File,
    Ip,
    Choice(&'static [&'static str]),
    LogLevel,
    Role,
    Preset,
    Profile,
    Delay,
    Cover,
    Network,
    Ports,
    Percent,
    Nat,
    Address,
    Peer,
    PeerId,
    MixNode,
    NodeRecord,
    DnsTree,
    EntryNode,
    Tag,
    HostName,
    RateLimit,
    NodeKey,
    MixKey,
}

impl Kind {
    /// What is accepted, as the end of "expected …".
    pub(crate) fn form(self) -> String {
        match self {
            Self::Bool => "true or false".to_owned(),
            Self::Port => "a port from 0 to 65535".to_owned(),
            Self::Number { min, max: u64::MAX } => format!("a number from {min} up"),
            Self::Number { min, max } => format!("a number from {min} to {max}"),
            Self::Time { min_ms, max_ms } => format!(
                "a time such as 50ms, 30s or 5m, from {} to {}",
                Timespan::from_millis(min_ms),
                Timespan::from_millis(max_ms)
            ),
            Self::Size { min, max } => format!(
                "a size such as 150KiB or 64MiB, from {} to {}",
                ByteSize::from_bytes(min),
                ByteSize::from_bytes(max)
            ),
            Self::File => "the path of a file".to_owned(),
            Self::Ip => "an IPv4 or IPv6 address".to_owned(),
            Self::Choice(names) => format!("one of {}", names.join(", ")),
            Self::LogLevel => "trace, debug, info, warn or error, or a list such as info,wakumix_host=debug".into(),
            Self::Role => format!("a role: {}", RoleName::ALL.map(RoleName::as_str).join(", ")),
            Self::Preset => format!("a preset: {}", presets::names().join(", ")),
            Self::Profile => "a wire profile such as lioness/pad, aes-ctr/seq or mix-2026-09".into(),
            Self::Delay => "none, or a mean from 1ms to 65535ms".to_owned(),
            Self::Cover => "by-role, none, or a mean time such as 10s".to_owned(),
            Self::Network => "a network such as 10.1.0.0/16".to_owned(),
            Self::Ports => "a port or a range such as 1024-65535".to_owned(),
            Self::Percent => "a share such as 5% or 0.5%".to_owned(),
            Self::Nat => "none or extip:<IP address>".to_owned(),
            Self::Address => "a multiaddr such as /ip4/192.0.2.1/tcp/60000".to_owned(),
            Self::Peer => "a multiaddr that ends in /p2p/<peer id>".to_owned(),
            Self::PeerId => "a peer id such as 16Uiu2HAm…".to_owned(),
            Self::NodeRecord => "a node record, enr:…".to_owned(),
            Self::DnsTree => "a DNS list, enrtree://<key>@<domain>".to_owned(),
            Self::EntryNode => "a node record, a multiaddr that ends in /p2p/<peer id>, or a DNS list".to_owned(),
            Self::Tag => format!("a name of at most {MAX_TAG} letters, digits, dots, dashes and underscores"),
            Self::HostName => "a host name without port, such as node.example.org".to_owned(),
            Self::MixNode => "multiaddr/p2p/<peer id>:<64 hex characters>".to_owned(),
            Self::RateLimit => "a budget such as lightpush:100/1s".to_owned(),
            Self::NodeKey => "64 hex characters of a secp256k1 private key".to_owned(),
            Self::MixKey => "64 hex characters of an X25519 private key".to_owned(),
        }
    }

    /// The word that stands for the value in `--help`.
    pub(crate) fn placeholder(self) -> &'static str {
        match self {
            Self::Bool => "BOOL",
            Self::Port => "PORT",
            Self::Number { .. } => "N",
            Self::Time { .. } => "TIME",
            Self::Size { .. } => "SIZE",
            Self::File => "FILE",
            Self::Ip => "IP",
            Self::Choice(_) => "NAME",
            Self::LogLevel => "LEVEL",
            Self::Role => "ROLE",
            Self::Preset => "PRESET",
            Self::Profile => "PROFILE",
            Self::Delay => "TIME|none",
            Self::Cover => "by-role|none|TIME",
            Self::Network => "NETWORK",
            Self::Ports => "PORT[-PORT]",
            Self::Percent => "PERCENT",
            Self::Nat => "NAT",
            Self::Address | Self::Peer => "MULTIADDR",
            Self::MixNode => "MULTIADDR:KEY",
            Self::PeerId => "PEER",
            Self::NodeRecord => "ENR",
            Self::DnsTree => "ENRTREE",
            Self::EntryNode => "ENR|MULTIADDR|ENRTREE",
            Self::Tag | Self::HostName => "NAME",
            Self::RateLimit => "SERVICE:N/TIME",
            Self::NodeKey | Self::MixKey => "HEX",
        }
    }

    /// Whether its values must not be shown.
    pub(crate) fn is_secret(self) -> bool {
        matches!(self, Self::NodeKey | Self::MixKey)
    }

    /// Reads one scalar; the error is a clause without the key, and never repeats a secret.
    pub(crate) fn read(self, raw: &Value) -> Result<Value, ValueError> {
        let expected = |got: &str| ValueError::new(format!("{got}; expected {}", self.form()));
        let text = match raw {
            Value::Dict(..) => return Err(expected("a table stands here")),
            Value::Array(..) => return Err(expected("a list stands here")),
            Value::Empty(..) => return Err(expected("no value stands here")),
            scalar => scalar_text(scalar),
        };
        self.read_text(text.trim())
    }

    /// Judges the text of a secret. The text itself never becomes a value of a layer.
    pub(crate) fn check_secret(self, text: &str) -> Result<(), ValueError> {
        let error = match self {
            Self::NodeKey => keys::parse_node_key(text).err(),
            Self::MixKey => keys::parse_mix_key(text).err(),
            _ => None,
        };
        error.map_or(Ok(()), |error| Err(ValueError::new(error.to_string())))
    }

    fn read_text(self, text: &str) -> Result<Value, ValueError> {
        let expected = || ValueError::new(format!("`{text}` is not {}", self.form()));
        match self {
            Self::Bool => match text.to_ascii_lowercase().as_str() {
                "true" => Ok(true.into()),
                "false" => Ok(false.into()),
                _ => Err(expected()),
            },
            Self::Port => text.parse::<u16>().map(Value::from).map_err(|_| expected()),
            Self::Number { min, max } => {
                number(text).filter(|value| (min..=max).contains(value)).map(Value::from).ok_or_else(expected)
            }
            Self::Time { min_ms, max_ms } => {
                let span: Timespan = text.parse()?;
                let fits = (min_ms..=max_ms).contains(&span.as_millis());
                fits.then(|| span.to_string().into()).ok_or_else(expected)
            }
            Self::Size { min, max } => {
                let size: ByteSize = text.parse()?;
                let fits = (min..=max).contains(&size.as_bytes());
                fits.then(|| size.to_string().into()).ok_or_else(expected)
            }
            Self::File if text.is_empty() => Err(expected()),
            Self::File => Ok(text.into()),
            Self::Ip => text.parse::<IpAddr>().map(|ip| ip.to_string().into()).map_err(|_| expected()),
            Self::Choice(names) => names
                .iter()
                .find(|name| name.eq_ignore_ascii_case(text))
                .map(|name| Value::from(*name))
                .ok_or_else(expected),
            Self::LogLevel => match logging::check(text) {
                Ok(()) => Ok(text.into()),
                Err(error) => Err(ValueError::new(error.to_string())),
            },
            Self::Role => text.parse::<RoleName>().map(|role| role.as_str().into()).map_err(|_| expected()),
            Self::Preset => presets::find(text).map(|preset| preset.name.into()).ok_or_else(expected),
            Self::Profile => through_text(text.parse::<WireFormat>()),
            Self::Delay => text.parse::<MixDelay>().map(|delay| delay.to_string().into()),
            Self::Cover => through_text(text.parse::<CoverTime>()),
            Self::Network => one_of_many(text, text.parse::<IpNet>()),
            Self::Ports => through_text(text.parse::<PortRange>()),
            Self::Percent => through_text(text.parse::<Percent>()),
            Self::Nat => through_text(text.parse::<Nat>()),
            Self::Address => {
                one_of_many(text, text.parse::<Multiaddr>().map_err(|error| format!("not a multiaddr: {error}")))
            }
            Self::Peer => one_of_many(text, text.parse::<PeerAddress>()),
            Self::PeerId => one_of_many(text, text.parse::<PeerId>()),
            Self::NodeRecord => one_of_many(text, parse_bootstrap(text).map(|_| text).map_err(|error| error.problem)),
            Self::DnsTree => one_of_many(text, check_dns_tree(text).map(|()| text)),
            Self::EntryNode => one_of_many(text, text.parse::<EntryNode>()),
            Self::Tag if is_tag(text) => Ok(text.into()),
            Self::Tag => Err(expected()),
            Self::HostName if is_host_name(text) => Ok(text.into()),
            Self::HostName => Err(expected()),
            Self::MixNode => one_of_many(text, text.parse::<MixNodeEntry>()),
            Self::RateLimit => through_text(text.parse::<RateLimit>()),
            Self::NodeKey | Self::MixKey => self.check_secret(text).map(|()| "[redacted]".into()),
        }
    }
}

/// Longest name of an operator, in bytes. It travels in every descriptor.
const MAX_TAG: usize = 32;

fn is_tag(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    (1..=MAX_TAG).contains(&text.len()) && text.bytes().all(allowed)
}

/// Letters, digits, dashes and underscores between dots, at most 253 bytes in all and 63 in each part (RFC 1035 §2.3.4).
fn is_host_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let is_label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(allowed);
    text.len() <= 253 && text.split('.').all(is_label)
}

/// Splits what was written for a list: a list, or a text with commas, with or without brackets around it.
pub(crate) fn list_items(raw: Value) -> Vec<Value> {
    match raw {
        Value::Array(_, items) => items.into_iter().flat_map(list_items).collect(),
        Value::String(_, text) => text
            .trim()
            .trim_start_matches('[')
            .trim_end_matches(']')
            .split(',')
            .map(|item| item.trim().trim_matches('"'))
            .filter(|item| !item.is_empty())
            .map(Value::from)
            .collect(),
        other => vec![other],
    }
}

/// The text of a scalar as a person would write it.
pub(crate) fn scalar_text(value: &Value) -> String {
    match value {
        Value::String(_, text) => text.clone(),
        Value::Char(_, character) => character.to_string(),
        Value::Bool(_, flag) => flag.to_string(),
        Value::Num(_, number) => number_text(*number),
        Value::Empty(..) | Value::Dict(..) | Value::Array(..) => String::new(),
    }
}

fn number_text(number: Num) -> String {
    match (number.to_u128(), number.to_i128(), number.to_f64()) {
        (Some(value), _, _) => value.to_string(),
        (_, Some(value), _) => value.to_string(),
        (_, _, Some(value)) => value.to_string(),
        _ => String::new(),
    }
}

/// A whole number; `_` may group digits as in TOML.
fn number(text: &str) -> Option<u64> {
    text.replace('_', "").parse().ok()
}

fn through_text<T: ToString, E: ToString>(read: Result<T, E>) -> Result<Value, ValueError> {
    match read {
        Ok(value) => Ok(value.to_string().into()),
        Err(error) => Err(ValueError::new(error.to_string())),
    }
}

/// As [`through_text`], for kinds whose errors do not name the text: a list may hold a hundred of them.
fn one_of_many<T: ToString, E: ToString>(text: &str, read: Result<T, E>) -> Result<Value, ValueError> {
    through_text(read).map_err(|ValueError(error)| ValueError::new(format!("`{text}`: {error}")))
}
