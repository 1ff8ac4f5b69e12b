//! What a node can be used for, and why not.

use std::time::Duration;

use wakumix_mix::{AddressError, address::is_secp256k1};
use wakumix_role_api::directory::PoolState;
use wakumix_sphinx::{FormatKind, FormatSet, WireFormat};

use super::{node::Node, rules::Rules};
use crate::clock::Now;

/// What a node can be used for; `None` for one that does not mix.
///
/// The operator's entries are believed until this node fails to reach them. Others have to have been reached lately.
pub(crate) fn state_of(node: &Node, rules: &Rules, now: Now) -> Option<PoolState> {
    let view = &node.view;
    if !view.mixes {
        return None;
    }
    Some(if view.key.is_none() {
        PoolState::KeyUnknown
    } else if view.addresses.is_empty() && node.is_entry() {
        PoolState::Unresolved
    } else if view.hop.is_none() {
        PoolState::Unaddressable
    } else if !speaks(node, rules) {
        PoolState::OtherProfile
    } else if view.is_expired {
        PoolState::Expired
    } else {
        match contact_state(node, rules, now) {
            PoolState::Usable if node.held.is_some() => PoolState::HeldBack,
            state => state,
        }
    })
}

/// Whether a node, mixing or not, is believed to be there.
pub(crate) fn is_alive(node: &Node, rules: &Rules, now: Now) -> bool {
    !node.view.is_expired && contact_state(node, rules, now) == PoolState::Usable
}

/// The kinds of packets that a node speaks and that this node can make for it. A kind that both speak in different
/// profiles is none of them; what this node does not speak at all is there as told.
///
/// A node that has not told speaks the packet of nwaku, in this node's profile: nothing but a packet would tell. Where
/// this node does not speak that packet, it is in a closed fleet, and others are taken to speak what it does.
pub(crate) fn formats(node: &Node, rules: &Rules) -> FormatSet {
    let ours = || rules.profiles.iter();
    let is_foreign =
        |theirs: &&WireFormat| ours().any(|own| own.kind() == theirs.kind()) && !ours().any(|own| own == *theirs);
    if let Some(theirs) = &node.view.profiles {
        return theirs.iter().filter(|wire| !is_foreign(wire)).map(|wire| wire.kind()).collect();
    }
    let own: FormatSet = ours().map(|wire| wire.kind()).collect();
    node.view.formats.unwrap_or(if own.contains(FormatKind::Mix) { FormatSet::MIX } else { own })
}

/// Whether there is a kind of packets that both speak.
fn speaks(node: &Node, rules: &Rules) -> bool {
    let formats = formats(node, rules);
    rules.profiles.iter().any(|own| formats.contains(own.kind()))
}

fn contact_state(node: &Node, rules: &Rules, now: Now) -> PoolState {
    let contact = &node.contact;
    let is_stale = contact.last_seen.is_some_and(|seen| now.since(seen) > rules.pool.max_age);
    if contact.is_blamed() {
        return if is_stale { PoolState::Expired } else { PoolState::Unreachable };
    }
    if node.is_entry() {
        return PoolState::Usable;
    }
    match contact.last_seen {
        None => PoolState::Unchecked,
        Some(_) if is_stale && !contact.is_dialled => PoolState::Expired,
        Some(_) => PoolState::Usable,
    }
}

/// Why a node is in its state, for people.
pub(crate) fn reason(node: &Node, state: PoolState, rules: &Rules, now: Now) -> String {
    let contact = &node.contact;
    let seen = contact.last_seen.map(|seen| ago(now.since(seen)));
    match state {
        PoolState::Usable if contact.is_dialled => "connected".to_owned(),
        PoolState::Usable => match seen {
            Some(seen) => format!("reached {seen}"),
            None => "believed as the operator's entry, not reached yet".to_owned(),
        },
        PoolState::HeldBack => node.held.map_or_else(String::new, |held| held.describe().to_owned()),
        PoolState::Unchecked if contact.is_connected => "it has dialled this node, not the other way round".to_owned(),
        PoolState::Unchecked if contact.is_checking => "being tried for the first time".to_owned(),
        PoolState::Unchecked => "not tried yet".to_owned(),
        PoolState::Unreachable if contact.says_no => "it answers that it does not mix now".to_owned(),
        PoolState::Unreachable if contact.hangs_up => {
            format!(
                "it hangs up, as a node without a place for this one does, or one of another cluster; {}",
                failed(node, now)
            )
        }
        PoolState::Unreachable => failed(node, now),
        PoolState::Expired if node.view.is_expired => "its last record has expired".to_owned(),
        PoolState::Expired => seen.map_or_else(|| "not heard of".to_owned(), |seen| format!("last reached {seen}")),
        PoolState::KeyUnknown => "no source tells its mix key".to_owned(),
        PoolState::Unaddressable if !is_secp256k1(&node.peer) => AddressError::PeerIdKind.to_string(),
        PoolState::Unaddressable if node.view.addresses.is_empty() => "no source tells an address".to_owned(),
        PoolState::Unaddressable => node.hop_error().to_string(),
        PoolState::OtherProfile => {
            let theirs = node.view.profiles.as_deref().map_or_else(|| "another kind of packets".to_owned(), list);
            format!("it speaks {theirs}, this node {}", list(&rules.profiles))
        }
        PoolState::Unresolved => "its name does not resolve".to_owned(),
    }
}

fn failed(node: &Node, now: Now) -> String {
    let contact = &node.contact;
    let when = contact.last_failure.map(|failure| ago(now.since(failure))).unwrap_or_default();
    let found = contact.impostor.map(|peer| format!(": {peer} answers at its address")).unwrap_or_default();
    match contact.failures {
        1 => format!("could not be reached {when}{found}"),
        failures => format!("could not be reached {failures} times, last {when}{found}"),
    }
}

fn list(profiles: &[WireFormat]) -> String {
    if profiles.is_empty() {
        return "none that is known here".to_owned();
    }
    profiles.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// A time gone by in its largest unit.
fn ago(age: Duration) -> String {
    let seconds = age.as_secs();
    let (count, unit) = match seconds {
        0..120 => (seconds, "s"),
        120..7200 => (seconds / 60, "min"),
        7200..172_800 => (seconds / 3600, "h"),
        _ => (seconds / 86_400, "days"),
    };
    format!("{count} {unit} ago")
}
