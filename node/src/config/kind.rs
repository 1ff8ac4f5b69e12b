//! What the node's own keys accept beyond numbers, times and words, and how the values of layers are read.
//!
//! Environment variables and flags are text only, and operators of nwaku write `True`, `"60000"` or a lone string for a
//! list; so every scalar is read from its text, in every layer alike.

use figment::value::{Num, Value};
use libp2p_identity::PeerId;
use multiaddr::Multiaddr;
use wakumix_discovery::{
    entry::{MixNodeEntry, PeerAddress, check_dns_tree},
    parse_bootstrap,
};
use wakumix_role_api::config::{self, Key, MixDelay, RateLimit, ValueError, ValueKind, text};
use wakumix_sphinx::WireFormat;
use wakumix_telemetry::logging;
use wakumix_waku::ContentTopic;

use super::{AllowedOrigin, EntryNode, nat::Nat, percent::Percent};
use crate::keys;

/// What is wrong with a value: a clause for each thing, with the item of a list that it is about.
pub(super) type Misread = Vec<(Option<usize>, ValueError)>;

/// Reads a written value into canonical form; one clause for each thing that is wrong.
pub(super) fn read(key: &Key, raw: &Value) -> Result<Value, Misread> {
    if !key.many {
        return read_scalar(&key.kind, raw).map_err(|error| vec![(None, error)]);
    }
    let mut values = Vec::new();
    let mut errors = Vec::new();
    let items: Vec<_> = match raw {
        Value::Array(_, items) => items.iter().enumerate().map(|(index, item)| (Some(index), item)).collect(),
        one => vec![(None, one)],
    };
    for (index, item) in
        items.into_iter().flat_map(|(index, raw)| list_items(raw).into_iter().map(move |item| (index, item)))
    {
        match read_scalar(&key.kind, &item) {
            Ok(value) => values.push(value),
            Err(error) => errors.push((index, error)),
        }
    }
    if errors.is_empty() { Ok(Value::from(values)) } else { Err(errors) }
}

/// The texts of a value in canonical form: one, or any number for a list.
pub(crate) fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Array(_, items) => items.iter().map(scalar_text).collect(),
        scalar => vec![scalar_text(scalar)],
    }
}

/// Reads one scalar; the error is a clause without the key, and never repeats a secret.
pub(super) fn read_scalar(kind: &ValueKind, raw: &Value) -> Result<Value, ValueError> {
    let expected = |got: &str| ValueError::new(format!("{got}; expected {}", kind.form()));
    let text = match raw {
        Value::Dict(..) => return Err(expected("a table stands here")),
        Value::Array(..) => return Err(expected("a list stands here")),
        Value::Empty(..) => return Err(expected("no value stands here")),
        scalar => scalar_text(scalar),
    };
    let text = kind.read(text.trim())?;
    Ok(match kind {
        ValueKind::Bool => text.parse::<bool>().map_or_else(|_| text.into(), Value::from),
        ValueKind::Port | ValueKind::Number { .. } => text.parse::<u64>().map_or_else(|_| text.into(), Value::from),
        _ => text.into(),
    })
}

/// Splits what was written for a list: a list, or a text with commas, with or without brackets around it.
fn list_items(raw: &Value) -> Vec<Value> {
    match raw {
        Value::Array(_, items) => items.iter().flat_map(list_items).collect(),
        Value::String(_, text) => text
            .trim()
            .trim_start_matches('[')
            .trim_end_matches(']')
            .split(',')
            .map(|item| item.trim().trim_matches('"'))
            .filter(|item| !item.is_empty())
            .map(Value::from)
            .collect(),
        other => vec![other.clone()],
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

pub(super) fn profile() -> ValueKind {
    text::<WireFormat>("a wire profile such as lioness/pad, aes-ctr/seq or mix-2026-09", "PROFILE").kind
}

pub(super) fn delay() -> ValueKind {
    text::<MixDelay>(MixDelay::FORM, MixDelay::PLACEHOLDER).kind
}

pub(super) fn network() -> ValueKind {
    config::network().kind
}

pub(super) fn percent() -> ValueKind {
    text::<Percent>("a share such as 5% or 0.5%", "PERCENT").kind
}

pub(super) fn nat() -> ValueKind {
    text::<Nat>("none, any or extip:<IP address>", "NAT").kind
}

pub(super) fn rate_limit() -> ValueKind {
    text::<RateLimit>(RateLimit::FORM, RateLimit::PLACEHOLDER).kind
}

pub(super) fn log_level() -> ValueKind {
    let form = "trace, debug, info, warn or error, or a list such as info,wakumix_host=debug";
    let read = |text: &str| match logging::check(text) {
        Ok(()) => Ok(text.to_owned()),
        Err(error) => Err(ValueError::new(error.to_string())),
    };
    ValueKind::Text { form, placeholder: "LEVEL", read }
}

pub(super) fn address() -> ValueKind {
    let read =
        |text: &str| one_of_many(text, text.parse::<Multiaddr>().map_err(|error| format!("not a multiaddr: {error}")));
    ValueKind::Text { form: "a multiaddr such as /ip4/192.0.2.1/tcp/60000", placeholder: "MULTIADDR", read }
}

pub(super) fn peer() -> ValueKind {
    let read = |text: &str| one_of_many(text, text.parse::<PeerAddress>());
    ValueKind::Text { form: "a multiaddr that ends in /p2p/<peer id>", placeholder: "MULTIADDR", read }
}

pub(super) fn peer_id() -> ValueKind {
    let read = |text: &str| one_of_many(text, text.parse::<PeerId>());
    ValueKind::Text { form: "a peer id such as 16Uiu2HAm…", placeholder: "PEER", read }
}

pub(super) fn mix_node() -> ValueKind {
    let read = |text: &str| one_of_many(text, text.parse::<MixNodeEntry>());
    ValueKind::Text { form: "multiaddr/p2p/<peer id>:<64 hex characters>", placeholder: "MULTIADDR:KEY", read }
}

pub(super) fn node_record() -> ValueKind {
    let read = |text: &str| one_of_many(text, parse_bootstrap(text).map(|_| text).map_err(|error| error.problem));
    ValueKind::Text { form: "a node record, enr:…", placeholder: "ENR", read }
}

pub(super) fn dns_tree() -> ValueKind {
    let read = |text: &str| one_of_many(text, check_dns_tree(text).map(|()| text));
    ValueKind::Text { form: "a DNS list, enrtree://<key>@<domain>", placeholder: "ENRTREE", read }
}

pub(super) fn entry_node() -> ValueKind {
    let form = "a node record, a multiaddr that ends in /p2p/<peer id>, or a DNS list";
    let read = |text: &str| one_of_many(text, text.parse::<EntryNode>());
    ValueKind::Text { form, placeholder: "ENR|MULTIADDR|ENRTREE", read }
}

/// Longest name of an operator, in bytes. It travels in every descriptor.
const MAX_TAG: usize = 32;

pub(super) fn tag() -> ValueKind {
    const FORM: &str = "a name of at most 32 letters, digits, dots, dashes and underscores";
    let read = |text: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        let fits = (1..=MAX_TAG).contains(&text.len()) && text.bytes().all(allowed);
        fits.then(|| text.to_owned()).ok_or_else(|| ValueError::new(format!("`{text}` is not {FORM}")))
    };
    ValueKind::Text { form: FORM, placeholder: "NAME", read }
}

/// Letters, digits, dashes and underscores between dots, at most 253 bytes in all and 63 in each part (RFC 1035 §2.3.4).
pub(super) fn host_name() -> ValueKind {
    const FORM: &str = "a host name without port, such as node.example.org";
    let read = |text: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        let is_label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(allowed);
        let fits = text.len() <= 253 && text.split('.').all(is_label);
        fits.then(|| text.to_owned()).ok_or_else(|| ValueError::new(format!("`{text}` is not {FORM}")))
    };
    ValueKind::Text { form: FORM, placeholder: "NAME", read }
}

pub(super) fn content_topic() -> ValueKind {
    let read = |text: &str| one_of_many(text, ContentTopic::parse(text));
    ValueKind::Text { form: "a content topic such as /app/1/chat/proto", placeholder: "TOPIC", read }
}

pub(super) fn origin() -> ValueKind {
    text::<AllowedOrigin>(AllowedOrigin::FORM, "ORIGIN").kind
}

pub(super) fn node_key() -> ValueKind {
    let check = |text: &str| keys::parse_node_key(text).map(drop).map_err(|error| ValueError::new(error.to_string()));
    ValueKind::Secret { form: "64 hex characters of a secp256k1 private key", check }
}

pub(super) fn mix_key() -> ValueKind {
    let check = |text: &str| keys::parse_mix_key(text).map(drop).map_err(|error| ValueError::new(error.to_string()));
    ValueKind::Secret { form: "64 hex characters of an X25519 private key", check }
}

/// For kinds whose errors do not name the text: a list may hold a hundred of them.
fn one_of_many<T: ToString, E: ToString>(text: &str, read: Result<T, E>) -> Result<String, ValueError> {
    match read {
        Ok(value) => Ok(value.to_string()),
        Err(error) => Err(ValueError::new(format!("`{text}`: {}", error.to_string()))),
    }
}
