//! Who says that a request is done. An exit can say so of a request that it has thrown away; that several say so that are
//! asked apart from each other is less likely.

use libp2p_identity::PeerId;

use super::{LastAnswer, count};
use crate::ClientError;

/// The services that say so. At most as many as are needed, or one for each try.
pub(super) struct Confirmations {
    /// How many are needed, at least 1.
    needed: usize,
    /// Exits and services that said so, no two of them with an exit or a service in common.
    by: Vec<(PeerId, PeerId)>,
    /// What the first of them said.
    first: Option<LastAnswer>,
}

impl Confirmations {
    /// None yet, of at least one.
    pub(super) fn of(needed: usize) -> Self {
        Self { needed: needed.max(1), by: Vec::new(), first: None }
    }

    /// Whether some service has said so, and not enough have.
    pub(super) fn are_begun(&self) -> bool {
        self.first.is_some()
    }

    /// Whether this exit or service has said so.
    pub(super) fn are_from(&self, exit: &PeerId, service: &PeerId) -> bool {
        self.by.iter().any(|(other, asked)| other == exit || asked == service)
    }

    /// Whether so many more would be enough.
    pub(super) fn are_enough_with(&self, more: usize) -> bool {
        self.by.len() + more >= self.needed
    }

    /// A service says so: what the first of them said, if that is enough now. Nobody confirms itself.
    pub(super) fn add(&mut self, exit: PeerId, service: PeerId, answer: LastAnswer) -> Option<LastAnswer> {
        if !self.are_from(&exit, &service) {
            self.by.push((exit, service));
        }
        self.first.get_or_insert(answer);
        if self.are_enough_with(0) { self.take() } else { None }
    }

    /// What the first of them said, if that was not enough.
    pub(super) fn take(&mut self) -> Option<LastAnswer> {
        self.first.take()
    }

    /// Why the request ends now, if some have said so and not enough; else `problem`.
    pub(super) fn or_unconfirmed(&self, problem: ClientError) -> ClientError {
        if self.are_begun() {
            ClientError::Unconfirmed { said: count(self.by.len()), needed: count(self.needed) }
        } else {
            problem
        }
    }
}
