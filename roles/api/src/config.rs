//! Configuration keys: what a role can be set to, written once in its crate.
//!
//! [`settings!`](crate::settings) makes a role's `Config` from one table: each line is a field, its key, what it accepts,
//! its default and its meaning. Flags, environment variables, `config show`, the documentation and the checks of ranges
//! follow from it. The values of all layers are judged by the node; a role reads those in force as texts
//! ([`Settings`]), its own and those that all share.

mod checks;
mod delay;
mod form;
mod key;
mod kind;
mod net;
mod rate;
mod settings;
mod values;

pub use checks::{ConfigChecks, ConfigError, ConfigProblem};
pub use delay::MixDelay;
pub use form::{Form, ListOf, Scalar, choice, delay, flag, list, number, size, text, time};
pub use key::Key;
pub use kind::ValueKind;
pub use net::{network, ports};
pub use rate::RateLimit;
pub use settings::{Settings, Values};
pub use values::{ByteSize, Timespan, ValueError};
