//! Names that variants had in the first revision of the list, until every room uses the present ones.

use super::Metric;

#[expect(non_upper_case_globals, reason = "they stand in for variants")]
#[allow(missing_docs, reason = "each is another name of a documented variant")]
impl Metric {
    pub const ActorRestarts: Self = Self::ActorRestartsTotal;
    pub const QueueWait: Self = Self::QueueWaitSeconds;
    pub const QueueRefused: Self = Self::QueueRefusedTotal;
    pub const MixStreams: Self = Self::Streams;
    pub const MixStreamsOpened: Self = Self::StreamsOpenedTotal;
    pub const MixFramesRefused: Self = Self::FramesRefusedTotal;
    pub const Dials: Self = Self::DialsTotal;
    pub const FleetDials: Self = Self::WakuPeersDialsTotal;
    pub const MetadataExchanges: Self = Self::MetadataExchangesTotal;
}
