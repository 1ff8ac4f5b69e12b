//! Every kind of discovery, each in a module of its own.

mod descriptors;
mod discv5;
mod dns;
mod peer_exchange;
mod rendezvous;
mod service_discovery;
mod static_entries;

use crate::{config::Config, source::Source};

pub use descriptors::DescriptorsConfig;
pub use discv5::Discv5Config;
pub use dns::DnsConfig;
pub use peer_exchange::PeerExchangeConfig;
pub use rendezvous::RendezvousConfig;
pub use service_discovery::ServiceDiscoveryConfig;
pub use static_entries::{Resolver, StaticSource};

/// The sources that a configuration turns on.
pub(crate) fn configured(config: &Config) -> Vec<Box<dyn Source>> {
    vec![Box::new(StaticSource::new(config))]
}
