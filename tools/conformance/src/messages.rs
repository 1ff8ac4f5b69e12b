//! Sections above the packet: addresses, mix messages, SURBs in a request.

use libp2p_identity::PeerId;
use multiaddr::Multiaddr;
use serde_json::Value;
use wakumix_mix::address::HopAddress;
use wakumix_mix::message::{MixMessage, decode_surbs};
use wakumix_mix::{Request, request_capacity};
use wakumix_sphinx::{ADDRESS_LEN, AddressBytes, Profile, SURB_LEN, Sphinx, Surb};

use crate::json::Fields;
use crate::raw::alpha_rule;
use crate::report::{PeerReports, Problem, SectionReport};
use crate::rules::Rule;
use crate::section::{Checked, each, one, parts};

/// `multiaddr.encode`: text and peer id to 94 bytes (§5.1).
pub(crate) fn address_encode(value: &Value) -> SectionReport {
    each("multiaddr.encode", value, |found, fields| {
        let (text, peer_text) = (fields.text("multiaddr")?, fields.text("peer_id")?);
        let peer = peer_text.parse::<PeerId>();
        if let Some(expected) = fields.optional_bytes("peer_id_bytes")? {
            let got = peer.as_ref().map_or(Vec::new(), |peer| peer.to_bytes());
            found.bytes("peer_id_bytes", &expected, &got);
        }
        let encoded = text
            .parse::<Multiaddr>()
            .ok()
            .zip(peer.ok())
            .and_then(|(address, peer)| HopAddress::from_multiaddr(&address, peer).ok());
        let expected = fields.flag("ok")?;
        found.value("ok", expected, encoded.is_some());
        if let Some(address) = encoded.filter(|_| expected) {
            let bytes = fields.array("bytes")?;
            found.bytes("bytes", &bytes, &address.encode());
            address_reads_back(found, &bytes, text, peer_text);
        }
        Ok(())
    })
}

fn address_reads_back(found: &mut PeerReports, bytes: &AddressBytes, text: &str, peer: &str) {
    match HopAddress::decode(bytes) {
        Ok(address) => {
            found.value("multiaddr", text, &address.multiaddr().to_string());
            found.value("peer_id", peer, &address.peer().to_base58());
        }
        Err(error) => found.fail("bytes", "an address that can be read back", error),
    }
}

/// `multiaddr.decode`: 94 bytes to text and peer id (§5.1).
pub(crate) fn address_decode(value: &Value) -> SectionReport {
    each("multiaddr.decode", value, |found, fields| {
        let bytes = fields.bytes("bytes")?;
        let expected = fields.flag("ok")?;
        let Ok(bytes) = AddressBytes::try_from(bytes.as_slice()) else {
            found.value("ok", expected, false);
            return Ok(());
        };
        match (HopAddress::decode(&bytes), address_rule(&bytes)) {
            (Ok(_), Some(rule)) => found.fail("bytes", format!("refused by {rule}"), "accepted"),
            (Ok(address), None) => {
                found.value("ok", expected, true);
                if expected {
                    address_reads_back(found, &bytes, fields.text("multiaddr")?, fields.text("peer_id")?);
                    // The reference ignores the nine bytes behind the peer ids, and so do we.
                    found.bytes("bytes", &bytes[..85], &address.encode()[..85]);
                }
            }
            (Err(_), Some(rule)) if expected => {
                // What the reference read is still compared.
                let (address, peer) = read_any(&bytes);
                found.value("multiaddr", fields.text("multiaddr")?, &address);
                found.value("peer_id", fields.text("peer_id")?, &peer);
                found.stricter(rule);
            }
            (Err(error), None) if expected => found.fail("ok", true, format!("refused: {error}")),
            (Err(_), _) => {}
        }
        Ok(())
    })
}

/// The rule by which an address has to be refused (§5.1).
fn address_rule(bytes: &AddressBytes) -> Option<Rule> {
    const SECP256K1: [u8; 6] = [0x00, 0x25, 0x08, 0x02, 0x12, 0x21];
    let valid = |peer: &[u8]| peer.starts_with(&SECP256K1) && matches!(peer[SECP256K1.len()], 2 | 3);
    let (first, second) = (&bytes[7..46], &bytes[46..85]);
    if bytes.iter().all(|&byte| byte == 0) {
        Some(Rule::NoAddress)
    } else if bytes[4] > 1 {
        Some(Rule::TransportByte)
    } else if valid(first) && (valid(second) || second.iter().all(|&byte| byte == 0)) {
        None
    } else {
        Some(Rule::AddressPeer)
    }
}

/// Multiaddress and peer id as the reference reads them: any transport byte, peer ids of any 39 bytes.
fn read_any(bytes: &AddressBytes) -> (String, String) {
    let [a, b, c, d, transport, high, low, ..] = *bytes;
    let port = u16::from_be_bytes([high, low]);
    let tail = match transport {
        0 => format!("tcp/{port}"),
        1 => format!("udp/{port}/quic-v1"),
        _ => format!("udp/{port}"),
    };
    let (first, second) = (base58(&bytes[7..46]), &bytes[46..85]);
    let base = format!("/ip4/{a}.{b}.{c}.{d}/{tail}");
    if second.iter().all(|&byte| byte == 0) {
        (base, first)
    } else {
        (format!("{base}/p2p/{first}/p2p-circuit"), base58(second))
    }
}

/// The text form of a peer id, for bytes that are not a peer id.
fn base58(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    // Little-endian digits of the number, without leading zeros.
    let mut digits: Vec<u8> = Vec::new();
    for byte in bytes {
        let mut carry = u32::from(*byte);
        for digit in &mut digits {
            carry += u32::from(*digit) << 8;
            *digit = (carry % 58).to_le_bytes()[0];
            carry /= 58;
        }
        while carry > 0 {
            digits.push((carry % 58).to_le_bytes()[0]);
            carry /= 58;
        }
    }
    let zeros = bytes.iter().take_while(|&&byte| byte == 0).map(|_| &0);
    zeros.chain(digits.iter().rev()).map(|&digit| char::from(ALPHABET[usize::from(digit)])).collect()
}

/// `mix_message.serialize`: codec and content to bytes and back; how much fits (§7.3).
pub(crate) fn serialize(profile: Profile, value: &Value) -> SectionReport {
    each("mix_message.serialize", value, |found, fields| {
        let (codec, content) = (fields.text("codec")?, fields.bytes("message")?);
        let message = MixMessage { codec: codec.as_bytes(), rest: &content };
        if fields.optional_flag("ok")? == Some(false) {
            found.value("ok", false, message.encode().is_ok());
            return Ok(());
        }
        let bytes = fields.bytes("bytes")?;
        match message.encode() {
            Ok(encoded) => found.bytes("bytes", &bytes, &encoded),
            Err(error) => found.fail("bytes", "an encoding", error),
        }
        match MixMessage::decode(&bytes) {
            Ok(decoded) => {
                found.bytes("codec", codec.as_bytes(), decoded.codec);
                found.bytes("message", &content, decoded.rest);
            }
            Err(error) => found.fail("bytes", "a message that can be read back", error),
        }
        reference_reading(found, fields, codec, &content, &bytes)?;
        capacities(found, fields, profile, codec)
    })
}

/// What the reference makes of its own encoding, against the corrected decoder.
fn reference_reading(
    found: &mut PeerReports,
    fields: Fields<'_>,
    codec: &str,
    content: &[u8],
    bytes: &[u8],
) -> Checked {
    match fields.optional_flag("reference_can_decode")? {
        Some(false) if codec.len() > 127 => found.stricter(Rule::CodecLength),
        Some(false) => found.fail("reference_can_decode", false, "we can decode it"),
        Some(true) | None => {
            found.recorded("decoded_codec", fields.optional_text("decoded_codec")?, codec);
            match fields.optional_bytes("decoded_message")? {
                Some(decoded) if decoded == content => {}
                Some(decoded) if bytes.len() == 1 && decoded == bytes => {
                    found.stricter(Rule::OneByteBody);
                }
                Some(decoded) => found.bytes("decoded_message", &decoded, content),
                None => {}
            }
        }
    }
    Ok(())
}

/// The fields `max_message_size_<n>_surbs`, for any n.
fn capacities(found: &mut PeerReports, fields: Fields<'_>, profile: Profile, codec: &str) -> Checked {
    for (field, _) in fields.iter() {
        let surbs = field
            .strip_prefix("max_message_size_")
            .and_then(|rest| rest.strip_suffix("_surbs"))
            .and_then(|number| number.parse().ok());
        if let Some(surbs) = surbs {
            let expected: u64 = fields.number(field)?;
            match request_capacity(&Sphinx::new(profile), codec, surbs) {
                Some(capacity) => found.value(field, expected, capacity as u64),
                // Our requests have a codec that every decoder understands.
                None if codec.is_empty() || codec.len() > 127 => found.stricter(Rule::CodecLength),
                None if expected == 0 => {}
                None => found.fail(field, expected, "such a request does not exist"),
            }
        }
    }
    Ok(())
}

/// `mix_message.deserialize`: bodies good and bad (§7.3).
pub(crate) fn deserialize(value: &Value) -> SectionReport {
    each("mix_message.deserialize", value, |found, fields| {
        let bytes = fields.bytes("bytes")?;
        let decoded = MixMessage::decode(&bytes);
        if !fields.flag("ok")? {
            match decoded {
                // Decoders of before September 2026 read only one byte of length.
                Ok(_) if has_two_byte_length(&bytes) => found.stricter(Rule::CodecLength),
                Ok(_) => found.fail("ok", false, "accepted"),
                Err(_) => {}
            }
            return Ok(());
        }
        let (codec, content) = (fields.bytes("codec_hex")?, fields.bytes("message")?);
        // Those decoders also hand out a body of one byte as content, whatever it is.
        if bytes.len() == 1 && codec.is_empty() && content == bytes {
            found.value("ok", bytes == [0], decoded.is_ok());
            found.stricter(Rule::OneByteBody);
            return Ok(());
        }
        match decoded {
            Ok(message) => {
                found.bytes("codec_hex", &codec, message.codec);
                found.bytes("message", &content, message.rest);
            }
            Err(wakumix_mix::MessageError::CodecLength) => {
                found.bytes("message", &content, tail(&bytes, content.len()));
                found.stricter(Rule::CodecLength);
            }
            Err(error) => found.fail("ok", true, format!("refused: {error}")),
        }
        Ok(())
    })
}

/// Whether a body begins with a minimal varint of two bytes, and goes on for as long as it says.
fn has_two_byte_length(bytes: &[u8]) -> bool {
    let [low @ 0x80..=0xff, high @ 0x01..=0x7f, rest @ ..] = bytes else {
        return false;
    };
    rest.len() >= (usize::from(*low) & 0x7f) | (usize::from(*high) << 7)
}

fn tail(bytes: &[u8], length: usize) -> &[u8] {
    &bytes[bytes.len().saturating_sub(length)..]
}

/// `surb_payload`: SURBs in front of application bytes (§7.3). `surbs` is the file's section of that name.
pub(crate) fn surb_payload(value: &Value, surbs: Option<&Value>) -> Vec<SectionReport> {
    parts("surb_payload", value, |name, part| {
        let section = format!("surb_payload.{name}");
        Some(match name {
            "serialize" => surb_serialize(&section, part, surbs),
            "extract_cases" => {
                let known = known_surbs(surbs);
                each(&section, part, |found, fields| surb_extract(found, fields, &known))
            }
            "six_surbs_rejected" => {
                let mut report = SectionReport::new(section);
                one(&mut report, name, |found| {
                    let rejected = Fields::of("surb_payload", value)?.flag(name)?;
                    found.value(name, rejected, six_surbs_are_refused());
                    Ok(())
                });
                report
            }
            _ => return None,
        })
    })
}

fn surb_serialize(section: &str, value: &Value, surbs: Option<&Value>) -> SectionReport {
    let known = known_surbs(surbs);
    each(section, value, |found, fields| {
        let count: usize = fields.small::<u8>("num_surbs")?.into();
        let (message, payload) = (fields.bytes("app_message")?, fields.bytes("payload")?);
        match decode_surbs(&Sphinx::new(Profile::default()), &payload) {
            Ok((surbs, data)) => {
                found.value("num_surbs", count, surbs.len());
                found.bytes("app_message", &message, data);
                rebuild(found, surbs, &message, &payload)?;
            }
            Err(error) => match surb_rule(&payload) {
                Some(rule) => found.stricter(rule),
                None => found.fail("payload", "SURBs and a message", error),
            },
        }
        compare_with_known(found, &payload, &known);
        Ok(())
    })
}

fn rebuild(found: &mut PeerReports, surbs: Vec<Surb>, message: &[u8], payload: &[u8]) -> Result<(), Problem> {
    let request = Request { codec: "c", surbs, data: message };
    let body = request.encode().map_err(|error| Problem::new("payload", "an encoding", error))?;
    // One byte of codec length and one of codec stand in front.
    found.bytes("payload", payload, body.get(2..).unwrap_or_default());
    Ok(())
}

fn known_surbs(surbs: Option<&Value>) -> Vec<Vec<u8>> {
    let entries = surbs.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    entries
        .iter()
        .filter_map(|entry| hex::decode(entry.get("surb_bytes")?.as_str()?).ok())
        .filter(|bytes| bytes.len() == SURB_LEN)
        .collect()
}

/// The SURBs of a payload: one that is nearly one of the file's own must be exactly that, others are opaque.
fn compare_with_known(found: &mut PeerReports, payload: &[u8], known: &[Vec<u8>]) {
    for slot in slots(payload) {
        let distance = |surb: &[u8]| surb.iter().zip(slot).filter(|(a, b)| a != b).count();
        let nearest = known.iter().min_by_key(|surb| distance(surb));
        if let Some(surb) = nearest.filter(|surb| distance(surb) < SURB_LEN / 4) {
            found.bytes("payload", slot, surb);
        }
    }
}

/// The places of the SURBs in a payload, as far as it reaches.
fn slots(payload: &[u8]) -> impl Iterator<Item = &[u8]> {
    let count = payload.first().copied().unwrap_or_default();
    payload.get(1..).unwrap_or_default().chunks_exact(SURB_LEN).take(count.into())
}

fn surb_extract(found: &mut PeerReports, fields: Fields<'_>, known: &[Vec<u8>]) -> Checked {
    let payload = fields.bytes("payload")?;
    let expected = fields.flag("ok")?;
    match decode_surbs(&Sphinx::new(Profile::default()), &payload) {
        Ok((surbs, data)) => {
            found.value("ok", expected, true);
            if expected {
                let count = fields.number("num_surbs")?;
                found.value("num_surbs", count, surbs.len() as u64);
                found.bytes("message", &fields.bytes("message")?, data);
                compare_with_known(found, &payload, known);
            }
            if let Some(rule) = surb_rule(&payload) {
                found.fail("payload", format!("refused by {rule}"), "accepted");
            }
        }
        Err(_) => match surb_rule(&payload) {
            Some(rule) if expected => found.stricter(rule),
            _ => found.value("ok", expected, false),
        },
    }
    Ok(())
}

/// The rule by which a SURB of a payload is refused: the reference takes any bytes, but every hop of ours would refuse a
/// reply that begins with such an α.
fn surb_rule(payload: &[u8]) -> Option<Rule> {
    let alphas = slots(payload).filter_map(|surb| surb.get(ADDRESS_LEN..)?.first_chunk());
    alphas.filter_map(alpha_rule).next()
}

fn six_surbs_are_refused() -> bool {
    // Any group element but zero makes a SURB.
    let surbs: Vec<_> = (0..6).filter_map(|_| Surb::from_bytes(&[1; SURB_LEN]).ok()).collect();
    surbs.len() == 6 && Request { codec: "c", surbs, data: &[] }.encode().is_err()
}
