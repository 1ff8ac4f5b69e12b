//! The file under a tag log, and the records that are on their way to it.

use std::{
    fs::File,
    io::{self, Seek, SeekFrom, Write},
};

use wakumix_sphinx::PublicKey;

use super::{RECORD_LEN, offset, record, seed};
use crate::{checksum::Checksum, tag_set::Tag};

/// What a log needs of a file. Tests put one in its place that fails.
pub(crate) trait LogFile: Send {
    /// Writes bytes at an offset.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Waits until everything written, and the length, are on the disk.
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts the file.
    fn cut(&mut self, len: u64) -> io::Result<()>;
}

impl LogFile for File {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.seek(SeekFrom::Start(offset))?;
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn cut(&mut self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }
}

/// The records of a log: those on the disk, those written, those that wait.
///
/// A record keeps its position from the moment it is appended, so writing it again is always right. That is what happens
/// after an error: of what was not known to be on the disk nothing is taken for written, because a kernel that fails to
/// write a page may forget that it had to.
pub(crate) struct Records<F> {
    file: F,
    seed: Checksum,
    /// Records that are on the disk.
    synced: u64,
    /// Records behind them.
    unsynced: Vec<Tag>,
    /// How many of those are written.
    written: usize,
    /// Records that the file held at one time, whether or not they have to be written again.
    reached: u64,
}

impl<F: LogFile> Records<F> {
    /// The log of a key that has `records` records on the disk.
    pub(crate) fn new(file: F, key: &PublicKey, records: u64) -> Self {
        Self { file, seed: seed(key), synced: records, unsynced: Vec::new(), written: 0, reached: records }
    }

    /// Takes tags in; nothing is written yet.
    pub(crate) fn append(&mut self, tags: &[Tag]) {
        self.unsynced.extend_from_slice(tags);
    }

    /// Writes what is not written, with one call.
    ///
    /// # Errors
    /// Of the file. What came through of it is cut off again, and will be written with the next call.
    pub(crate) fn write(&mut self) -> io::Result<()> {
        let first = self.synced + self.written as u64;
        let tags = &self.unsynced[self.written..];
        if tags.is_empty() {
            return Ok(());
        }
        let mut bytes = Vec::with_capacity(tags.len() * RECORD_LEN);
        for (tag, position) in tags.iter().zip(first..) {
            bytes.extend_from_slice(&record(self.seed, position, tag));
        }
        if let Err(error) = self.file.write_at(offset(first), &bytes) {
            // If this fails too, the next write covers the same bytes, and a reader takes them for a torn end. What was
            // acknowledged when it was written stays in the file for whoever reads it after a crash of this process.
            let _ = self.file.cut(offset(first.max(self.reached)));
            return Err(error);
        }
        self.written = self.unsynced.len();
        self.reached = self.reached.max(first + tags.len() as u64);
        Ok(())
    }

    /// Waits until what is written is on the disk.
    ///
    /// # Errors
    /// Of the file. Then everything since the last good call has to be written again.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        if let Err(error) = self.file.sync() {
            self.written = 0;
            return Err(error);
        }
        self.synced += self.written as u64;
        self.unsynced.drain(..self.written);
        self.written = 0;
        Ok(())
    }

    /// Tags that are not known to be on the disk.
    pub(crate) fn unsynced(&self) -> usize {
        self.unsynced.len()
    }

    /// Length of the log in bytes when everything is written.
    pub(crate) fn len(&self) -> u64 {
        offset(self.synced + self.unsynced.len() as u64)
    }
}
