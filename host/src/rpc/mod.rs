//! Request–response protocols: one frame there, one frame back, one stream per exchange.
//!
//! | file | idea |
//! |---|---|
//! | `bodies` | the memory of requests |
//! | `exchange` | what is written and read on one stream |
//! | `handler` | the streams of one connection |
//! | `behaviour` | finds a connection for a request, or dials |

mod behaviour;
mod bodies;
mod exchange;
mod handler;

pub(crate) use behaviour::Behaviour;
