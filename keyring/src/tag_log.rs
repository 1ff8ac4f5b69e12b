//! The log of one key's replay tags: what its bytes mean, and what is made of a log that a crash has left.
//!
//! | offset | bytes | content |
//! |---|---|---|
//! | 0 | 8 | `wkmxtags` |
//! | 8 | 4 | version, big-endian: 1 |
//! | 12 | 32 | public key whose tags these are |
//! | 44 | 4 | CRC-32C of the 44 bytes before |
//! | 48 + 20 n | 16 | tag n: the first half of SHA-256(s) |
//! | 64 + 20 n | 4 | CRC-32C of public key ‖ n (8 bytes, big-endian) ‖ tag |
//!
//! Records are only ever appended, and everything acknowledged lies before everything that is not. So whatever an
//! interrupted write leaves is at the end. An invalid record with a valid one somewhere behind it is something else:
//! acknowledged tags may be gone, and the log cannot be trusted. A record moved to another place or log is invalid.

mod committer;
mod file;

use std::io::{self, Read};

use thiserror::Error;
use wakumix_sphinx::PublicKey;

use crate::{
    checksum::Checksum,
    tag_set::{TAG_LEN, Tag},
};

pub(crate) use committer::{Commit, Committer, Settings};
pub(crate) use file::{LogFile, Records};

/// Bytes before the first record.
pub(crate) const HEADER_LEN: usize = 48;
/// Bytes of a record.
pub(crate) const RECORD_LEN: usize = TAG_LEN + CHECKSUM_LEN;

const CHECKSUM_LEN: usize = 4;
const MAGIC: &[u8; 8] = b"wkmxtags";
const VERSION: u32 = 1;

/// Why a log cannot stand for the tags of its key.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LogError {
    /// There is none.
    #[error("the log is missing")]
    Missing,
    /// It cannot be read.
    #[error("the log cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// It is something else, or its header is damaged.
    #[error("the file has no sound header of a tag log")]
    Header,
    /// A later release wrote it.
    #[error("the log has version {0}; this release knows version {VERSION}")]
    Newer(u32),
    /// It belongs to another key.
    #[error("the log holds the tags of another key")]
    Foreign,
    /// A record is invalid, and records behind it are not.
    #[error("record {record} is damaged and sound ones follow it, so tags are lost")]
    Damaged {
        /// The first invalid record, counted from 0.
        record: u64,
    },
}

/// What was found in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Recovered {
    /// Sound records.
    pub(crate) records: u64,
    /// Whether the end was torn: bytes follow that are no record, and are to be cut off.
    pub(crate) torn: bool,
}

/// The header of a key's log.
pub(crate) fn header(key: &PublicKey) -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_be_bytes());
    header[12..44].copy_from_slice(key.as_bytes());
    let checksum = Checksum::new().with(&header[..44]).bytes();
    header[44..].copy_from_slice(&checksum);
    header
}

/// The start of a record's checksum.
pub(crate) fn seed(key: &PublicKey) -> Checksum {
    Checksum::new().with(key.as_bytes())
}

/// The record of a tag at a position.
pub(crate) fn record(seed: Checksum, position: u64, tag: &Tag) -> [u8; RECORD_LEN] {
    let mut record = [0; RECORD_LEN];
    record[..TAG_LEN].copy_from_slice(tag);
    record[TAG_LEN..].copy_from_slice(&seed.with(&position.to_be_bytes()).with(tag).bytes());
    record
}

/// Where the record at a position begins.
pub(crate) fn offset(position: u64) -> u64 {
    HEADER_LEN as u64 + position * RECORD_LEN as u64
}

/// Reads a key's log and gives each tag to `take`, in order.
///
/// # Errors
/// Each kind of [`LogError`] but `Missing`. Tags may have been given before.
pub(crate) fn read(mut log: impl Read, key: &PublicKey, mut take: impl FnMut(&Tag)) -> Result<Recovered, LogError> {
    check_header(&mut log, key)?;
    let seed = seed(key);
    let mut records = 0;
    let mut bytes = [0; RECORD_LEN];
    while let Some(bytes) = next(&mut log, &mut bytes)? {
        match tag_at(seed, records, bytes) {
            Some(tag) => take(&tag),
            None => return past_the_end(log, seed, records),
        }
        records += 1;
    }
    Ok(Recovered { records, torn: false })
}

fn check_header(log: &mut impl Read, key: &PublicKey) -> Result<(), LogError> {
    let mut found = [0; HEADER_LEN];
    if fill(log, &mut found)? < HEADER_LEN || found[..8] != *MAGIC {
        return Err(LogError::Header);
    }
    let version = u32::from_be_bytes([found[8], found[9], found[10], found[11]]);
    if version > VERSION {
        return Err(LogError::Newer(version));
    }
    if version < VERSION || found[44..] != Checksum::new().with(&found[..44]).bytes() {
        return Err(LogError::Header);
    }
    if found[12..44] != *key.as_bytes() {
        return Err(LogError::Foreign);
    }
    Ok(())
}

/// Record `first` is invalid: looks for a sound one behind it.
fn past_the_end(mut log: impl Read, seed: Checksum, first: u64) -> Result<Recovered, LogError> {
    let mut position = first + 1;
    let mut bytes = [0; RECORD_LEN];
    while let Some(bytes) = next(&mut log, &mut bytes)? {
        if tag_at(seed, position, bytes).is_some() {
            return Err(LogError::Damaged { record: first });
        }
        position += 1;
    }
    Ok(Recovered { records: first, torn: true })
}

/// The bytes of the next record, or what is left of it; `None` at the end.
fn next<'a>(log: &mut impl Read, buffer: &'a mut [u8; RECORD_LEN]) -> io::Result<Option<&'a [u8]>> {
    Ok(match fill(log, buffer)? {
        0 => None,
        len => Some(&buffer[..len]),
    })
}

fn tag_at(seed: Checksum, position: u64, bytes: &[u8]) -> Option<Tag> {
    let tag: Tag = bytes.first_chunk().copied()?;
    (record(seed, position, &tag) == *bytes).then_some(tag)
}

/// Reads until the buffer is full or the log ends; the number of bytes read.
fn fill(log: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while len < buffer.len() {
        match log.read(&mut buffer[len..]) {
            Ok(0) => break,
            Ok(more) => len += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(len)
}

#[cfg(test)]
mod tests {
    use wakumix_sphinx::PrivateKey;

    use super::*;

    const TAGS: usize = 5;

    fn key(number: u8) -> PublicKey {
        PrivateKey::from_bytes([number; 32]).public()
    }

    fn tag(number: usize) -> Tag {
        (number as u128).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_be_bytes()
    }

    fn log(tags: usize) -> Vec<u8> {
        let key = key(1);
        let records = (0..tags).flat_map(|at| record(seed(&key), at as u64, &tag(at)));
        header(&key).into_iter().chain(records).collect()
    }

    fn tags_of(log: &[u8]) -> Result<(Vec<Tag>, Recovered), LogError> {
        let mut tags = Vec::new();
        let recovered = read(log, &key(1), |tag| tags.push(*tag))?;
        Ok((tags, recovered))
    }

    #[test]
    fn gives_back_what_was_written() {
        let (tags, recovered) = tags_of(&log(TAGS)).unwrap();
        assert_eq!(tags, (0..TAGS).map(tag).collect::<Vec<_>>());
        assert_eq!(recovered, Recovered { records: TAGS as u64, torn: false });
    }

    #[test]
    fn a_log_cut_at_any_byte_keeps_all_whole_records() {
        let whole = log(TAGS);
        for cut in HEADER_LEN..whole.len() {
            let (tags, recovered) = tags_of(&whole[..cut]).unwrap();
            let records = (cut - HEADER_LEN) / RECORD_LEN;
            assert_eq!(tags, (0..records).map(tag).collect::<Vec<_>>(), "cut at {cut}");
            let torn = !(cut - HEADER_LEN).is_multiple_of(RECORD_LEN);
            assert_eq!(recovered, Recovered { records: records as u64, torn }, "cut at {cut}");
        }
        for cut in 0..HEADER_LEN {
            assert!(matches!(tags_of(&whole[..cut]), Err(LogError::Header)), "cut at {cut}");
        }
    }

    #[test]
    fn a_log_with_its_end_overwritten_from_any_byte_keeps_the_records_before() {
        let whole = log(TAGS);
        for from in HEADER_LEN..whole.len() {
            let mut torn = whole.clone();
            // Zeros, as a file system leaves them where it had no time to write.
            torn[from..].fill(0);
            torn.extend([0; 3 * RECORD_LEN + 7]);
            let (tags, recovered) = tags_of(&torn).unwrap();
            assert!(recovered.torn);
            assert!(tags.len() >= (from - HEADER_LEN) / RECORD_LEN, "zeros from {from}");
            assert!(tags.iter().enumerate().all(|(at, found)| *found == tag(at)));
        }
    }

    #[test]
    fn a_changed_byte_is_damage_unless_it_is_in_the_last_record() {
        let whole = log(TAGS);
        for at in HEADER_LEN..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            let record = (at - HEADER_LEN) / RECORD_LEN;
            match tags_of(&changed) {
                Err(LogError::Damaged { record: found }) => assert_eq!(found, record as u64, "byte {at}"),
                Ok((tags, recovered)) => {
                    assert_eq!((record, tags.len(), recovered.torn), (TAGS - 1, TAGS - 1, true), "byte {at}");
                }
                Err(error) => panic!("byte {at}: {error}"),
            }
        }
    }

    #[test]
    fn a_changed_byte_of_the_header_is_never_overlooked() {
        let whole = log(TAGS);
        for at in 0..HEADER_LEN {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            assert!(tags_of(&changed).is_err(), "byte {at}");
        }
    }

    #[test]
    fn records_at_another_place_do_not_count() {
        let mut swapped = log(3);
        let (first, second) = swapped[HEADER_LEN..HEADER_LEN + 2 * RECORD_LEN].split_at_mut(RECORD_LEN);
        first.swap_with_slice(second);
        assert!(matches!(tags_of(&swapped), Err(LogError::Damaged { record: 0 })));
        let mut lost = log(3);
        lost.drain(HEADER_LEN..HEADER_LEN + RECORD_LEN);
        assert_eq!(tags_of(&lost).unwrap().1, Recovered { records: 0, torn: true });
    }

    #[test]
    fn refuses_logs_of_other_keys_and_later_releases() {
        assert!(matches!(read(&log(2)[..], &key(2), |_| ()), Err(LogError::Foreign)));
        let mut newer = log(2);
        newer[11] = 2;
        assert!(matches!(tags_of(&newer), Err(LogError::Newer(2))));
        newer[11] = 0;
        assert!(matches!(tags_of(&newer), Err(LogError::Header)));
    }

    #[test]
    fn reports_a_log_that_cannot_be_read() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::PermissionDenied.into())
            }
        }
        let start = log(1);
        assert!(matches!(read(start[..50].chain(Broken), &key(1), |_| ()), Err(LogError::Unreadable(_))));
    }
}
