//! Parameters of the specification (`spec/waku.md §6.6`), and the first wait.

use std::time::Duration;

use crate::peer_report::UnixSeconds;

/// `k`: peers of one bucket of the routing table, and peers that an answer names.
pub(super) const K: usize = 20;
/// `α`: requests of one walk at a time.
pub(super) const ALPHA: usize = 10;
/// `K_lookup`: registrars that are asked in each bucket.
pub(super) const PER_BUCKET: usize = 5;
/// `F_lookup`: advertisements that are enough for one look-up.
pub(super) const LOOKED_UP: usize = 30;
/// `F_return`: advertisements that one registrar returns.
pub(super) const RETURNED: usize = 10;
/// `E`: how long a registrar keeps an advertisement, in seconds.
pub(super) const EXPIRY: UnixSeconds = 900;
/// Buckets around the place of a service.
pub(super) const SERVICE_BUCKETS: usize = 16;
/// Between two refreshes of what is in the DHT and in the routing table.
pub(super) const REFRESH: Duration = Duration::from_secs(600);

/// The first wait between two searches; it doubles while the pool is small, up to that of the configuration.
pub(super) const SMALLEST_WAIT: Duration = Duration::from_secs(1);
