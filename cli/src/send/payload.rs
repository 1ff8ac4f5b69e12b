//! What is sent: a text, a file or standard input, as it is or written in hex or base64.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read},
    path::PathBuf,
};

use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD, HEXLOWER_PERMISSIVE};
use wakumix_node::config::Problem;

use super::Failure;

/// More than any node takes (`max-msg-size`), in bytes. Hex and base64 in lines are up to three times as long.
const MOST: u64 = 64 << 20;
/// The name that means standard input.
const STDIN: &str = "-";

/// Where the payload comes from.
#[derive(Debug, Default, clap::Args)]
pub(super) struct PayloadArgs {
    /// The payload, as text; `-` reads standard input to its end. A text that begins with `-` goes behind `--`
    #[arg(value_name = "TEXT", required_unless_present = "file", conflicts_with = "file")]
    pub(super) text: Option<OsString>,
    /// Send what is in a file instead, byte for byte; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
    /// The payload is written in hex: send the bytes that it stands for
    #[arg(long, conflicts_with = "base64")]
    pub(super) hex: bool,
    /// The payload is written in base64: send the bytes that it stands for
    #[arg(long)]
    pub(super) base64: bool,
}

impl PayloadArgs {
    /// The bytes to send.
    ///
    /// # Errors
    /// When they cannot be read, or are not in the form that was named. The words repeat nothing of them.
    pub(super) fn read(&self) -> Result<Vec<u8>, Failure> {
        self.read_from(io::stdin().lock())
    }

    fn read_from(&self, stdin: impl Read) -> Result<Vec<u8>, Failure> {
        let written = match (&self.file, &self.text) {
            (Some(path), _) if path.as_os_str() != STDIN => {
                let name = format!("file {}", path.display());
                let file = File::open(path).map_err(|error| unreadable(&name, &error))?;
                read_all(&name, file)?
            }
            (None, Some(text)) if text != STDIN => text.as_encoded_bytes().to_vec(),
            _ => read_all("standard input", stdin)?,
        };
        match (self.hex, self.base64) {
            (true, _) => from_hex(&written),
            (_, true) => from_base64(&written),
            _ => Ok(written),
        }
    }
}

fn read_all(name: &str, from: impl Read) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    from.take(MOST + 1).read_to_end(&mut bytes).map_err(|error| unreadable(name, &error))?;
    if bytes.len() as u64 > MOST {
        return Err(refused(format!("{name} has more than {MOST} bytes"), "no node takes so much; send less"));
    }
    Ok(bytes)
}

fn unreadable(name: &str, error: &io::Error) -> Failure {
    refused(format!("{name} cannot be read: {error}"), "name a file that this user can read, or - for standard input")
}

fn refused(message: String, help: &str) -> Failure {
    Failure::Input(Problem::new(message, help).into())
}

fn without_space(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect()
}

fn from_hex(written: &[u8]) -> Result<Vec<u8>, Failure> {
    let digits = without_space(written);
    let digits = digits.strip_prefix(b"0x").unwrap_or(&digits);
    HEXLOWER_PERMISSIVE.decode(digits).map_err(|error| {
        let what = if digits.len().is_multiple_of(2) {
            format!("character {} is not a hex digit", error.position + 1)
        } else {
            format!("it has {} digits, and two make a byte", digits.len())
        };
        refused(format!("--hex: the payload is not hex: {what}"), "write it as 68656c6c6f, or leave out --hex")
    })
}

fn from_base64(written: &[u8]) -> Result<Vec<u8>, Failure> {
    let text = without_space(written);
    let forms = [BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD];
    forms.iter().find_map(|form| form.decode(&text).ok()).ok_or_else(|| {
        let help = "write it as aGVsbG8=, in either alphabet of RFC 4648, or leave out --base64";
        refused("--base64: the payload is not base64".to_owned(), help)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every byte there is, among them what is no text.
    fn all_bytes() -> Vec<u8> {
        (0..=255).collect()
    }

    fn args(text: &str) -> PayloadArgs {
        PayloadArgs { text: Some(text.into()), ..PayloadArgs::default() }
    }

    #[test]
    fn bytes_of_standard_input_and_of_a_file_are_sent_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("payload");
        std::fs::write(&path, all_bytes()).unwrap();
        assert_eq!(args("-").read_from(&all_bytes()[..]).unwrap(), all_bytes());
        let from_file = |file: PathBuf| PayloadArgs { file: Some(file), ..PayloadArgs::default() };
        assert_eq!(from_file(path).read_from(io::empty()).unwrap(), all_bytes());
        assert_eq!(from_file(STDIN.into()).read_from(&b"\xff\n"[..]).unwrap(), b"\xff\n");
        assert_eq!(args("hello").read_from(&b"not this"[..]).unwrap(), b"hello");
        assert!(args("-").read_from(io::empty()).unwrap().is_empty());
        #[cfg(unix)]
        {
            let text = <OsString as std::os::unix::ffi::OsStringExt>::from_vec(vec![0xff, b'x']);
            let text = PayloadArgs { text: Some(text), ..PayloadArgs::default() };
            assert_eq!(text.read_from(io::empty()).unwrap(), [0xff, b'x']);
        }
    }

    #[test]
    fn hex_and_base64_stand_for_bytes() {
        let hex = |text: &str| PayloadArgs { hex: true, ..args(text) }.read_from(io::empty());
        let base64 = |text: &str| PayloadArgs { base64: true, ..args(text) }.read_from(io::empty());
        for text in ["00fF 7a", "0x00ff7a", "00\nff7a\n"] {
            assert_eq!(hex(text).unwrap(), [0, 0xff, b'z'], "{text}");
        }
        for text in ["AP96", "AP\n96 ", "+/8=", "-_8", "-_8=", "+/8"] {
            let bytes = base64(text).unwrap();
            assert!(bytes == [0, 0xff, b'z'] || bytes == [0xfb, 0xff], "{text}: {bytes:?}");
        }
        let lines = PayloadArgs { hex: true, ..args("-") };
        assert_eq!(lines.read_from(&b"00\nff\n"[..]).unwrap(), [0, 0xff]);
        for (bad, part) in [("abc", "it has 3 digits"), ("secret", "character 1 is not a hex digit")] {
            let said = hex(bad).unwrap_err().to_string();
            assert!(said.contains(part) && said.contains("help: ") && !said.contains(bad), "{said}");
        }
        let said = base64("!secret!").unwrap_err().to_string();
        assert!(said.contains("not base64") && !said.contains("secret"), "{said}");
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let missing = PayloadArgs { file: Some("/does/not/exist".into()), ..PayloadArgs::default() };
        let failure = missing.read_from(io::empty()).unwrap_err();
        assert_eq!(failure.code(), 1);
        assert!(failure.to_string().contains("file /does/not/exist cannot be read"), "{failure}");
        let endless = args("-").read_from(io::repeat(b'x')).unwrap_err();
        assert!(endless.to_string().contains("standard input has more than"), "{endless}");
    }
}
