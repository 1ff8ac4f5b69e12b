//! Bodies of fuzz targets: the parsers of what lies in a key directory.

use wakumix_sphinx::PrivateKey;

use crate::{key_file::KeyFile, tag_log};

/// Reads a key file; what was read is written as it was.
pub fn read_key_file(bytes: &[u8]) {
    if let Ok(file) = KeyFile::parse(bytes) {
        let again = KeyFile::parse(file.text().as_bytes());
        assert!(again.is_ok_and(|again| *again.text() == *file.text()));
    }
}

/// Reads a tag log as that of the key of 32 bytes 0x01; a sound log that is cut keeps what stands before the cut.
pub fn read_tag_log(bytes: &[u8]) {
    let key = PrivateKey::from_bytes([1; 32]).public();
    let mut tags = 0;
    let Ok(found) = tag_log::read(bytes, &key, |_| tags += 1) else { return };
    assert_eq!(found.records, tags);
    let sound = usize::try_from(tag_log::offset(tags)).unwrap_or(usize::MAX);
    assert_eq!(found.torn, sound < bytes.len());
    let cut = sound.saturating_sub(1).max(tag_log::HEADER_LEN);
    let again = tag_log::read(&bytes[..cut], &key, |_| ());
    assert!(again.is_ok_and(|again| again.records == tags.saturating_sub(1)));
}
