//! For fuzz targets: what stands behind a signature, read without one. To sign and to verify takes a hundred times as long as to
//! read, and what is read there is the same.

use crate::descriptor::{Descriptor, DescriptorError};
use crate::envelope::OpenedEnvelope;
use crate::rendezvous::{MixRecord, PeerRecord, RecordError};
use crate::service_discovery::{self, AdvertisementError};

/// Reads a descriptor out of an envelope that was opened.
///
/// # Errors
/// Those of [`Descriptor::open`], but for those of envelopes.
pub fn descriptor(opened: &OpenedEnvelope, now: u64) -> Result<Descriptor, DescriptorError> {
    Descriptor::of(opened, now)
}

/// Reads Waku's rendezvous record out of an envelope that was opened.
///
/// # Errors
/// Those of [`MixRecord::open`], but for those of envelopes.
pub fn mix_record(opened: &OpenedEnvelope) -> Result<MixRecord, RecordError> {
    MixRecord::of(opened)
}

/// Reads libp2p's rendezvous record out of an envelope that was opened.
///
/// # Errors
/// Those of [`PeerRecord::open`], but for those of envelopes.
pub fn peer_record(opened: &OpenedEnvelope) -> Result<PeerRecord, RecordError> {
    PeerRecord::of(opened)
}

/// Reads an advertisement out of an envelope that was opened.
///
/// # Errors
/// Those of [`service_discovery::ExtensiblePeerRecord::open`], but for those of envelopes.
pub fn advertisement(opened: &OpenedEnvelope) -> Result<service_discovery::ExtensiblePeerRecord, AdvertisementError> {
    service_discovery::ExtensiblePeerRecord::of(opened)
}
