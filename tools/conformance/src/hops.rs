//! Follows a packet along its recorded hops and compares everything that each hop shows.

use serde_json::Value;
use wakumix_mix::ReplayTags;
use wakumix_sphinx::{AddressBytes, Opened, PrivateKey, Profile, Reject, Sphinx};

use crate::block::{self, BlockForm};
use crate::json::Fields;
use crate::raw::RawHop;
use crate::report::{PeerReports, Problem};
use crate::rules::Rule;
use crate::section::Checked;

/// What our node does with a packet.
pub(crate) enum Seen {
    Forward {
        next: AddressBytes,
        delay_ms: u16,
        packet: Vec<u8>,
    },
    Exit {
        destination: AddressBytes,
        block: Vec<u8>,
        body: Vec<u8>,
    },
    /// `packet` is as `open` left it, ready for `open_reply`.
    Reply {
        id: [u8; 16],
        packet: Vec<u8>,
    },
    Duplicate,
    Refused(Reject),
}

impl Seen {
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Forward { .. } => "intermediate".to_owned(),
            Self::Exit { .. } => "exit".to_owned(),
            Self::Reply { .. } => "reply".to_owned(),
            Self::Duplicate => "duplicate".to_owned(),
            Self::Refused(reject) => format!("refused ({})", reject.as_str()),
        }
    }
}

/// Opens a packet as a node does: authenticate, remember the tag, open, blind (§10).
pub(crate) fn process(profile: Profile, key: &[u8; 32], packet: &[u8], tags: Option<&mut ReplayTags>) -> Seen {
    process_owned(profile, key, packet.to_vec(), tags).unwrap_or_else(Seen::Refused)
}

fn process_owned(
    profile: Profile,
    key: &[u8; 32],
    mut packet: Vec<u8>,
    tags: Option<&mut ReplayTags>,
) -> Result<Seen, Reject> {
    let sphinx = Sphinx::new(profile);
    let authenticated = sphinx.authenticate(&PrivateKey::from_bytes(*key), &packet)?;
    if tags.is_some_and(|tags| tags.insert(authenticated.tag()).is_err()) {
        return Ok(Seen::Duplicate);
    }
    Ok(match sphinx.open(&mut packet, authenticated)? {
        Opened::Forward { next, delay_ms, blinding } => {
            sphinx.blind(&mut packet, blinding)?;
            Seen::Forward { next, delay_ms, packet }
        }
        Opened::Exit { destination, body } => Seen::Exit {
            destination,
            block: packet.get(640..4608).unwrap_or_default().to_vec(),
            body: packet.get(body).unwrap_or_default().to_vec(),
        },
        Opened::Reply { id } => Seen::Reply { id: *id.as_bytes(), packet },
    })
}

/// Compares recorded hops with ours, one after the other.
pub(crate) struct Walk<'t> {
    profile: Profile,
    tags: Option<&'t mut ReplayTags>,
    /// The packets before this one, where hops share a store of replay tags.
    history: Vec<Past>,
}

/// A packet that a node with a store of replay tags has seen.
struct Past {
    secret: [u8; 32],
    blinder: [u8; 32],
    /// Whether it got as far as its tag being stored by us.
    accepted: bool,
}

/// Where a walk ended: what our node saw at the last hop, and what the key reveals of the packet there.
pub(crate) struct Arrival {
    pub(crate) seen: Seen,
    pub(crate) raw: Option<RawHop>,
}

impl<'t> Walk<'t> {
    pub(crate) fn new(profile: Profile) -> Self {
        Self { profile, tags: None, history: Vec::new() }
    }

    /// Hops share a store of replay tags.
    pub(crate) fn with_tags(profile: Profile, tags: &'t mut ReplayTags) -> Self {
        Self { profile, tags: Some(tags), history: Vec::new() }
    }

    /// Sends `packet` along `hops`. Where we refuse by a rule, the walk goes on with the recorded packet.
    pub(crate) fn along(
        &mut self,
        found: &mut PeerReports,
        packet: &[u8],
        hops: &[Value],
    ) -> Result<Option<Arrival>, Problem> {
        let mut packet = packet.to_vec();
        let mut arrival = None;
        for (index, hop) in hops.iter().enumerate() {
            found.at_hop(Some(index));
            let fields = Fields::of("hop", hop)?;
            arrival = Some(self.hop(found, fields, &packet)?);
            if index + 1 < hops.len() {
                packet = fields.bytes("packet_out")?;
            }
        }
        found.at_hop(None);
        Ok(arrival)
    }

    /// Compares one recorded hop.
    pub(crate) fn hop(
        &mut self,
        found: &mut PeerReports,
        fields: Fields<'_>,
        packet: &[u8],
    ) -> Result<Arrival, Problem> {
        let key = fields.array("node_private_key")?;
        let raw = RawHop::open(self.profile, &key, packet);
        if let Some(raw) = &raw {
            secrets(found, fields, raw)?;
        }
        let seen = process(self.profile, &key, packet, self.tags.as_deref_mut());
        let status = fields.text("status")?;
        let seen = match (&raw, &self.tags) {
            (Some(raw), Some(_)) => self.replayed(found, status, &key, packet, raw, seen),
            _ => Some(seen),
        };
        let Some(seen) = seen else {
            let seen = process(self.profile, &key, packet, None);
            return Ok(Arrival { seen, raw });
        };
        compare(found, self.profile, fields, status, &seen, raw.as_ref())?;
        Ok(Arrival { seen, raw })
    }

    /// Compares the decision about a replay. What is left to compare is the packet as a node without a store sees it,
    /// or nothing.
    fn replayed(
        &mut self,
        found: &mut PeerReports,
        status: &str,
        key: &[u8; 32],
        packet: &[u8],
        raw: &RawHop,
        seen: Seen,
    ) -> Option<Seen> {
        let accepted = !matches!(seen, Seen::Duplicate | Seen::Refused(_));
        let known = |past: &&Past| past.secret == raw.secret && past.accepted;
        let must_be_duplicate = self.history.iter().find(known).map(|past| past.blinder != raw.blinder);
        let bad_copy = self.history.iter().any(|past| past.blinder == raw.blinder && !past.accepted);
        self.history.push(Past { secret: raw.secret, blinder: raw.blinder, accepted });
        match (status, &seen, must_be_duplicate) {
            // The reference stored the tag of a damaged copy, which anybody can make.
            ("duplicate", _, None) if accepted && bad_copy => {
                found.stricter(Rule::TagAfterMac);
                None
            }
            ("duplicate" | "invalid_mac" | "error", ..) | (_, Seen::Refused(_), _) => Some(seen),
            // The reference takes the same packet with another encoding of α.
            (_, Seen::Duplicate, Some(true)) => {
                found.stricter(Rule::SecretTag);
                Some(process(self.profile, key, packet, None))
            }
            (_, Seen::Duplicate, _) => Some(seen),
            (_, _, Some(_)) => {
                found.fail("status", "duplicate: the secret was seen before", seen.text());
                None
            }
            _ => Some(seen),
        }
    }
}

/// Shared secret, blinding scalar and replay tag, where they are recorded.
fn secrets(found: &mut PeerReports, fields: Fields<'_>, raw: &RawHop) -> Checked {
    found.recorded_bytes("shared_secret", fields.optional_bytes("shared_secret")?, &raw.secret);
    let blinder = fields.optional_bytes("blinder")?;
    if let Some(blinder) = &blinder {
        found.bytes("blinder", blinder, &raw.blinder);
    }
    if let Some(tag) = fields.optional_bytes("replay_tag")? {
        // The oldest references tag by s itself. Those that tag by H(α‖s) record no blinder, because it is the same value.
        let ours = match blinder {
            None if tag == raw.secret => &raw.secret,
            None if tag != raw.tag => &raw.blinder,
            _ => &raw.tag,
        };
        found.bytes("replay_tag", &tag, ours);
    }
    Ok(())
}

fn compare(
    found: &mut PeerReports,
    profile: Profile,
    fields: Fields<'_>,
    status: &str,
    seen: &Seen,
    raw: Option<&RawHop>,
) -> Checked {
    match status {
        "intermediate" | "exit" | "reply" => accepted(found, profile, fields, status, seen, raw),
        "invalid_mac" => {
            if raw.is_some_and(|raw| raw.mac_holds) {
                found.fail("status", status, "a MAC that holds");
            }
            refused(found, status, seen, raw, |reject| matches!(reject, Reject::Mac));
            Ok(())
        }
        "duplicate" => {
            if !matches!(seen, Seen::Duplicate) {
                refused(found, status, seen, raw, |_| false);
            }
            Ok(())
        }
        "error" => {
            let text = fields.optional_text("error")?.unwrap_or_default();
            let status = format!("error {text:?}");
            refused(found, &status, seen, raw, |reject| names(text, reject));
            Ok(())
        }
        other => {
            found.skip(format!("status {other:?} is not known"));
            Ok(())
        }
    }
}

/// The reference refuses: so must we, for the same reason or because of a check on α that comes first.
fn refused(
    found: &mut PeerReports,
    status: &str,
    seen: &Seen,
    raw: Option<&RawHop>,
    same: impl FnOnce(Reject) -> bool,
) {
    let weak = raw.is_some_and(|raw| raw.weakness().is_some());
    match seen {
        Seen::Refused(reject) if same(*reject) || (weak && is_alpha(*reject)) => {}
        other => found.fail("status", status, other.text()),
    }
}

fn is_alpha(reject: Reject) -> bool {
    matches!(reject, Reject::Alpha | Reject::ZeroSecret)
}

/// Whether an error text, of the reference or of ours, means this refusal. Texts that are not known match any refusal.
fn names(text: &str, reject: Reject) -> bool {
    const OURS: [Reject; 6] =
        [Reject::Size, Reject::Alpha, Reject::ZeroSecret, Reject::Role, Reject::Integrity, Reject::Padding];
    if OURS.iter().any(|known| known.to_string() == text) {
        return reject.to_string() == text;
    }
    match text {
        "" => matches!(reject, Reject::Role),
        _ if text.contains("packet size") => matches!(reject, Reject::Size),
        _ if text.contains("delta_prime") || text.contains("payload integrity") => {
            matches!(reject, Reject::Integrity)
        }
        _ if text.contains("alpha") => is_alpha(reject),
        _ => true,
    }
}

/// The reference accepts: so do we, with the same bytes, unless one of our rules forbids it.
fn accepted(
    found: &mut PeerReports,
    profile: Profile,
    fields: Fields<'_>,
    status: &str,
    seen: &Seen,
    raw: Option<&RawHop>,
) -> Checked {
    if let (Some(rule), false) = (raw.and_then(RawHop::weakness), matches!(seen, Seen::Refused(_))) {
        found.fail("status", format!("refused by {rule}"), seen.text());
        return Ok(());
    }
    match (status, seen) {
        ("intermediate", Seen::Forward { next, delay_ms, packet }) => {
            if let Some(raw) = raw {
                found.value("delay_ms", raw.delay_ms(), *delay_ms);
            }
            forwarded(found, fields, next, *delay_ms, packet)
        }
        ("exit", Seen::Exit { destination, block, body }) => {
            body_of_block(found, profile, block, body);
            delivered(found, fields, destination, block)
        }
        ("reply", Seen::Reply { id, packet }) => replied(found, fields, id, packet.get(624..).unwrap_or_default()),
        (_, Seen::Refused(reject)) => {
            let rule = raw.and_then(|raw| refusal_rule(profile, status, *reject, raw));
            match (rule, raw) {
                (Some(rule), Some(raw)) => {
                    if let Some(rule) = rule {
                        found.stricter(rule);
                    }
                    as_recorded(found, fields, status, raw)
                }
                _ => {
                    found.fail("status", status, seen.text());
                    Ok(())
                }
            }
        }
        _ => {
            found.fail("status", status, seen.text());
            Ok(())
        }
    }
}

/// Why we may refuse what the reference accepts: by a rule, or (inner `None`) because its next layer refuses it as well.
fn refusal_rule(profile: Profile, status: &str, reject: Reject, raw: &RawHop) -> Option<Option<Rule>> {
    if is_alpha(reject) {
        return raw.weakness().map(Some);
    }
    if status != "exit" || !matches!(reject, Reject::Padding) {
        return None;
    }
    match block::form(profile, raw.block()) {
        BlockForm::Body(_) => None,
        BlockForm::DirtyPadding(_) => Some(Some(Rule::ZeroPadding)),
        BlockForm::BadLength => Some(None),
    }
}

/// Compares the record with what the key reveals, for packets that we refuse.
fn as_recorded(found: &mut PeerReports, fields: Fields<'_>, status: &str, raw: &RawHop) -> Checked {
    let address = raw.address();
    match status {
        "intermediate" => forwarded(found, fields, &address, raw.delay_ms(), &raw.packet_out()),
        "exit" => delivered(found, fields, &address, raw.block()),
        _ => replied(found, fields, raw.id(), &raw.delta),
    }
}

fn forwarded(
    found: &mut PeerReports,
    fields: Fields<'_>,
    next: &AddressBytes,
    delay_ms: u16,
    packet: &[u8],
) -> Checked {
    found.bytes("next_hop_address_bytes", &fields.bytes("next_hop_address_bytes")?, next);
    let recorded: u16 = fields.small("delay_ms")?;
    if recorded != delay_ms && recorded == delay_ms.swap_bytes() {
        found.stricter(Rule::DelayOrder);
    } else {
        found.value("delay_ms", recorded, delay_ms);
    }
    found.bytes("packet_out", &fields.bytes("packet_out")?, packet);
    Ok(())
}

fn delivered(found: &mut PeerReports, fields: Fields<'_>, destination: &AddressBytes, block: &[u8]) -> Checked {
    found.bytes("destination_address_bytes", &fields.bytes("destination_address_bytes")?, destination);
    found.recorded("exit_is_destination", fields.optional_flag("exit_is_destination")?, *destination == [0; 94]);
    found.bytes("message", &fields.bytes("message")?, block);
    Ok(())
}

/// The body that we deliver is the one of the block.
fn body_of_block(found: &mut PeerReports, profile: Profile, block: &[u8], body: &[u8]) {
    match block::form(profile, block) {
        BlockForm::Body(range) => found.bytes("message", &block[range], body),
        _ => found.fail("message", "refused: its padding is not as §7.2", "delivered"),
    }
}

fn replied(found: &mut PeerReports, fields: Fields<'_>, id: &[u8], delta: &[u8]) -> Checked {
    found.bytes("surb_id", &fields.bytes("surb_id")?, id);
    found.recorded_bytes("delta_prime", fields.optional_bytes("delta_prime")?, delta);
    Ok(())
}
