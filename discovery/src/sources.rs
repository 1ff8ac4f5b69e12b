//! Every kind of discovery, each in its own module.

mod budget;
mod cache;
mod descriptors;
mod discv5;
mod dns;
mod identify;
mod origin;
mod peer_exchange;
mod protocol_peers;
mod rendezvous;
mod service_discovery;
mod static_entries;
#[cfg(test)]
pub(crate) mod test_double;

pub use cache::CacheSource;
pub use descriptors::DescriptorsConfig;
pub use discv5::{BootstrapError, Discv5Config, parse_bootstrap};
pub use dns::DnsConfig;
pub use peer_exchange::PeerExchangeConfig;
pub use service_discovery::ServiceDiscoveryConfig;
pub use static_entries::{Resolver, StaticSource};

pub(crate) use descriptors::{DescriptorsSource, LONGEST_RENEWAL, OwnAnswer, OwnWord, own_word};
pub(crate) use discv5::Discv5Source;
pub(crate) use dns::Dns;
pub(crate) use identify::Identify;
pub(crate) use peer_exchange::PeerExchange;
pub(crate) use rendezvous::Rendezvous;
pub(crate) use service_discovery::ServiceDiscovery;
pub(crate) use static_entries::system_resolver;
