//! Sizes of the second format. What the crate fixes comes from its constants.

use sphinx_packet::constants::{
    FINAL_NODE_META_INFO_LENGTH, HEADER_INTEGRITY_MAC_SIZE, MAX_PATH_LENGTH, NODE_META_INFO_SIZE,
    PAYLOAD_KEY_SEED_SIZE, SECURITY_PARAMETER, STREAM_CIPHER_OUTPUT_LENGTH,
};
use sphinx_packet::header::HEADER_SIZE;
use sphinx_packet::header::routing::ENCRYPTED_ROUTING_INFO_SIZE;
use sphinx_packet::payload::PAYLOAD_OVERHEAD_SIZE;

use crate::layout::{ALPHA_LEN, GAMMA_LEN, PATH_LEN, SURB_ID_LEN, SURB_KEY_LEN};
use crate::profile::MAX_PROOF_LEN;

/// α ‖ MAC ‖ routing information.
pub(super) const HEADER_LEN: usize = HEADER_SIZE;
/// The routing information of all hops.
pub(super) const ROUTING_LEN: usize = ENCRYPTED_ROUTING_INFO_SIZE;
/// The routing information with the zeros that a hop appends.
pub(super) const EXTENDED_LEN: usize = STREAM_CIPHER_OUTPUT_LENGTH;
/// What one hop takes from the front: flag, version, address, delay, and the MAC for the next hop.
pub(super) const STEP_LEN: usize = NODE_META_INFO_SIZE + HEADER_INTEGRITY_MAC_SIZE;
/// The end of the last hop's routing information, which the hops before it have shifted in.
pub(super) const FILLER_LEN: usize = (PATH_LEN - 1) * STEP_LEN;
/// What the last hop finds at its front: flag, version, destination, identifier.
pub(super) const FINAL_LEN: usize = FINAL_NODE_META_INFO_LENGTH;

/// Payload of the largest WakuMessage that must fit.
const MESSAGE_LEN: usize = 4096;
/// The rest of its request: topics, metadata, time, request id, field tags. What reassembly allows in the first format too.
const FRAMING_LEN: usize = 1024;
/// In front of the request: a codec of 25 bytes with its length, the number of reply blocks, and one such block.
const ENVELOPE_LEN: usize = 1 + 25 + 1 + SURB_LEN;
/// Payloads have a multiple of this many bytes.
const PAYLOAD_UNIT: usize = 512;

/// The payload: 17 + 4096 + 1024 + 431 = 5568, rounded up to 5632.
pub(super) const PAYLOAD_LEN: usize =
    (PAYLOAD_OVERHEAD_SIZE + MESSAGE_LEN + FRAMING_LEN + ENVELOPE_LEN).next_multiple_of(PAYLOAD_UNIT);
/// The longest body.
pub(super) const DATA_LEN: usize = PAYLOAD_LEN - PAYLOAD_OVERHEAD_SIZE;
/// The zero bytes in front of a body.
pub(super) const PREFIX_LEN: usize = SECURITY_PARAMETER;
/// A packet: 348 + 5632.
pub(super) const PACKET_LEN: usize = HEADER_LEN + PAYLOAD_LEN;

/// An x coordinate, in the place of the crate's node and destination addresses.
pub(super) const COORDINATE_LEN: usize = 32;
/// What else an address needs, in the place of the crate's delay.
pub(super) const CONTACT_LEN: usize = 8;
/// A reply block as the crate encodes it (header, address of the first hop, one payload key seed), and its contact.
pub(super) const SURB_LEN: usize = HEADER_LEN + COORDINATE_LEN + SURB_KEY_LEN + CONTACT_LEN;

const _: () = {
    assert!(HEADER_LEN == 348 && STEP_LEN == 60 && SURB_LEN == 404);
    assert!(PAYLOAD_LEN == 5632 && PACKET_LEN == 5980);
    assert!(HEADER_LEN == ALPHA_LEN + HEADER_INTEGRITY_MAC_SIZE + ROUTING_LEN);
    assert!(EXTENDED_LEN == ROUTING_LEN + STEP_LEN);
    assert!(PATH_LEN <= MAX_PATH_LENGTH && FINAL_LEN + FILLER_LEN <= ROUTING_LEN);
    assert!(HEADER_INTEGRITY_MAC_SIZE == GAMMA_LEN && PAYLOAD_KEY_SEED_SIZE == SURB_KEY_LEN);
    assert!(FINAL_LEN == 4 + COORDINATE_LEN + SURB_ID_LEN);
    // The length of a packet tells its format.
    assert!(PACKET_LEN > crate::PACKET_LEN + MAX_PROOF_LEN);
};
