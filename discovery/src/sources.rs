//! Every kind of discovery, each in a module of its own.

mod budget;
mod cache;
mod descriptors;
mod discv5;
mod dns;
mod peer_exchange;
mod rendezvous;
mod service_discovery;
mod speakers;
#[cfg(test)]
mod stand_in;
mod static_entries;

use crate::{config::Config, source::Source};
use descriptors::DescriptorsSource;
use discv5::Discv5Source;
use dns::Dns;
use peer_exchange::PeerExchange;
use rendezvous::Rendezvous;
use service_discovery::ServiceDiscovery;

pub use cache::CacheSource;
pub use descriptors::DescriptorsConfig;
pub use discv5::{BootstrapError, Discv5Config, parse_bootstrap};
pub use dns::DnsConfig;
pub use peer_exchange::PeerExchangeConfig;
pub use service_discovery::ServiceDiscoveryConfig;
pub use static_entries::{Resolver, StaticSource};

/// The sources that a configuration turns on.
pub(crate) fn configured(config: &Config) -> Vec<Box<dyn Source>> {
    let mut sources: Vec<Box<dyn Source>> = vec![Box::new(StaticSource::new(config))];
    if let Some(path) = &config.cache {
        sources.push(Box::new(CacheSource::new(path.clone(), config.cluster)));
    }
    if let Some(descriptors) = &config.descriptors {
        sources.push(Box::new(DescriptorsSource::new(descriptors.clone(), config.weaknesses)));
    }
    if let Some(discv5) = &config.discv5 {
        sources.push(Box::new(Discv5Source::new(discv5, config)));
    }
    if config.rendezvous {
        sources.push(Box::new(Rendezvous::new(config.cluster)));
    }
    if let Some(peer_exchange) = &config.peer_exchange {
        sources.push(Box::new(PeerExchange::new(peer_exchange.clone(), config.cluster)));
    }
    if let Some(dns) = &config.dns {
        sources.push(Box::new(Dns::new(dns.clone())));
    }
    if let Some(service_discovery) = &config.service_discovery {
        sources.push(Box::new(ServiceDiscovery::new(service_discovery.clone(), config.allow_private)));
    }
    sources
}
