//! Reads vector files: JSON text, plain or compressed with xz.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use lzma_rust2::XzReader;

/// Longest text of a vector file, read or unpacked. The longest known has 2.5 MB.
const MAX_LEN: u64 = 64 << 20;

/// Memory that an xz file may ask the decoder for, in KiB: what the strongest preset of `xz` needs (65 MiB), and some.
const DECODER_KIB: u32 = 72 << 10;

/// What every xz file begins with.
const XZ_MAGIC: &[u8] = b"\xfd7zXZ\0";

/// The JSON text in the file at `path`, unpacked if it is xz, or why it cannot be had.
///
/// # Errors
/// A text without the name of the file: it cannot be read, is damaged, too long, or not UTF-8.
pub fn read_text(path: impl AsRef<Path>) -> Result<String, String> {
    let file = File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
    let bytes = bounded(file).map_err(|error| format!("cannot be read: {error}"))?;
    let bytes = if bytes.starts_with(XZ_MAGIC) {
        bounded(XzReader::new_mem_limit(bytes.as_slice(), true, DECODER_KIB))
            .map_err(|error| format!("cannot be unpacked as xz: {error}"))?
    } else {
        bytes
    };
    String::from_utf8(bytes).map_err(|error| format!("is not JSON, which is UTF-8: {error}"))
}

fn bounded(from: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(MAX_LEN + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_LEN {
        return Err(io::Error::other(format!(
            "it has more than {} MiB; split its sections into several files",
            MAX_LEN >> 20
        )));
    }
    Ok(bytes)
}
