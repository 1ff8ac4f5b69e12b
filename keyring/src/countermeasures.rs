//! The checks of this crate that the attack suite can take away; no other code of a release asks what [`Weaknesses`] there are.

use std::io::Read;

use wakumix_sphinx::{PublicKey, Weakness, Weaknesses};

use crate::{
    tag_log::{self, LogError, Recovered},
    tag_set::Tag,
};

/// Whether a restart finds the tags of the process before.
pub(crate) fn outlive_restarts(weaknesses: Weaknesses) -> bool {
    !weaknesses.has(Weakness::ForgottenTags)
}

/// Whether a key that has been replaced has its tags for as long as it opens packets.
pub(crate) fn outlive_replacement(weaknesses: Weaknesses) -> bool {
    !weaknesses.has(Weakness::TagsBeforeKey)
}

/// Reads a log. An invalid record with a valid one behind it means that the log is damaged, not that it ends there.
pub(crate) fn read_log(
    weaknesses: Weaknesses,
    log: impl Read,
    key: &PublicKey,
    take: impl FnMut(&Tag),
) -> Result<Recovered, LogError> {
    match tag_log::read(log, key, take) {
        Err(LogError::Damaged { record }) if weaknesses.has(Weakness::TrustedTail) => {
            Ok(Recovered { records: record, torn: true })
        }
        read => read,
    }
}
