//! Every kind of discovery, each in a module of its own.

mod static_entries;

use crate::{config::Config, source::Source};

pub use static_entries::{Resolver, StaticSource};

/// The sources that a configuration turns on.
pub(crate) fn configured(config: &Config) -> Vec<Box<dyn Source>> {
    vec![Box::new(StaticSource::new(config))]
}
