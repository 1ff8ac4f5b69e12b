//! No copy of a key outlives the reading of the file that it stands in. The test looks for one in all of its memory, and so is a
//! program of its own.

#![cfg(all(target_os = "linux", feature = "relay", feature = "mixer"))]
#![allow(clippy::unwrap_used, reason = "what is missing fails the test")]

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
};

use wakumix_node::config::{Inputs, load};
use zeroize::Zeroizing;

/// What hides the key that is looked for, so that it is not found here.
const VEIL: u8 = 0x5a;

/// Bytes that are looked at together.
const PAGE: usize = 4096;

/// A key of which this is no copy.
struct Veiled(Vec<u8>);

impl Veiled {
    fn new() -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        rand::Rng::fill_bytes(&mut rand::rng(), &mut *bytes);
        Self(bytes.iter().flat_map(|byte| [byte >> 4, byte & 15].map(|digit| hex_digit(digit) ^ VEIL)).collect())
    }

    /// The key itself, in memory that is not moved.
    fn bare(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(self.0.len()));
        self.0.iter().for_each(|byte| text.push(char::from(byte ^ VEIL)));
        text
    }

    /// The text of a file with the key in it.
    fn within(&self, before: &str, after: &str) -> Zeroizing<String> {
        let key = self.bare();
        let mut text = Zeroizing::new(String::with_capacity(before.len() + key.len() + after.len()));
        [before, &key, after].into_iter().for_each(|part| text.push_str(part));
        text
    }

    fn is_at(&self, memory: &[u8]) -> bool {
        memory.iter().zip(&self.0).all(|(found, veiled)| found ^ VEIL == *veiled)
    }

    /// How often half of the key or more stands in memory that this process can write.
    fn copies(&self) -> usize {
        let half = Self(self.0[..self.0.len() / 2].to_vec());
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let mut memory = File::open("/proc/self/mem").unwrap();
        let mut copies = 0;
        for region in maps.lines().filter(|line| line.contains(" rw")) {
            let (range, _) = region.split_once(' ').unwrap();
            let [start, end] = [0, 1].map(|at| u64::from_str_radix(range.split('-').nth(at).unwrap(), 16).unwrap());
            let mut bytes = Zeroizing::new(vec![0; usize::try_from(end - start).unwrap()]);
            // Other threads may have given it back meanwhile.
            if memory.seek(SeekFrom::Start(start)).is_err() || memory.read_exact(&mut bytes).is_err() {
                continue;
            }
            // Most of it was never written.
            let pages = (0..bytes.len()).step_by(PAGE).filter(|start| bytes[*start..][..PAGE] != [0; PAGE]);
            for start in pages {
                let page = &bytes[start..bytes.len().min(start + PAGE + half.0.len() - 1)];
                copies += page.windows(half.0.len()).filter(|window| half.is_at(window)).count();
            }
        }
        copies
    }
}

fn hex_digit(digit: u8) -> u8 {
    match digit {
        0..10 => b'0' + digit,
        _ => b'a' + digit - 10,
    }
}

#[test]
fn no_copy_of_a_key_outlives_the_reading_of_its_file() {
    let folder = tempfile::tempdir().unwrap();
    for (name, before, after, is_good) in [
        ("a.toml", "roles = ['relay']\nnodekey = '", "'\n", true),
        ("b.toml", "roles = ['mixer']\nlisten-address = '127.0.0.1'\nmixkey = \"", "\"\n[mix]\ndelay = '7ms'\n", true),
        ("c.yaml", "roles: [relay]\nnodekey: \"", "\"\n", true),
        ("d.yaml", "roles: [relay]\nnodekey: ", "\n", true),
        ("e.yaml", "roles: [relay]\n# it was ", "\nmix:\n  delay: 7ms\n", true),
        ("f.toml", "nodekey = '", "' x", false),
        ("g.yaml", "nodkey: [", "]", false),
        ("h.toml", "nodekey = ['", "']", false),
        ("i.toml", "nodekey = '", "00'", false),
        ("j.txt", "nodekey = '", "'", false),
    ] {
        let key = Veiled::new();
        let path = folder.path().join(name);
        std::fs::write(&path, key.within(before, after).as_bytes()).unwrap();
        let loaded = load(&Inputs { file: Some(path), ..Inputs::default() });
        assert_eq!(loaded.is_ok(), is_good, "{name}");
        assert_eq!(key.copies(), 0, "{name}");
    }
    let (key, other) = (Veiled::new(), Veiled::new());
    let copy = key.bare();
    assert!(key.copies() > 0 && other.copies() == 0, "a copy is found where there is one");
    drop(copy);
}
