//! Bodies of fuzz targets: the parsers of what lies in a key directory.

use wakumix_sphinx::PrivateKey;

use crate::{
    key_file::{KeyFile, Life},
    tag_log,
};

/// A sound key file, to begin with.
#[must_use]
pub fn sound_key_file() -> Vec<u8> {
    let secret = PrivateKey::from_bytes([1; 32]);
    let life = Life { number: 17, from: 1_764_000_000, until: 1_764_090_000 };
    let file = KeyFile { public: secret.public(), life, secret: Some(secret), retired: true };
    file.text().as_bytes().to_vec()
}

/// A sound tag log of so many tags, to begin with.
#[must_use]
pub fn sound_tag_log(tags: u8) -> Vec<u8> {
    let key = PrivateKey::from_bytes([1; 32]).public();
    let record = |tag: u8| tag_log::record(tag_log::seed(&key), tag.into(), &[tag; 16]);
    tag_log::header(&key).into_iter().chain((0..tags).flat_map(record)).collect()
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_targets_take_sound_input_and_what_is_near_it() {
        for (target, input) in [(read_key_file as fn(&[u8]), sound_key_file()), (read_tag_log, sound_tag_log(4))] {
            target(&input);
            for at in 0..input.len() {
                target(&input[..at]);
                let mut changed = input.clone();
                changed[at] ^= 1;
                target(&changed);
            }
        }
    }
}
