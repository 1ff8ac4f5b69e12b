//! Key files and keys in text form: the libp2p identity and the mix key of a node.
//!
//! A key file holds 64 hex characters and a newline, and nobody but its owner may read it. The text of an identity may
//! also be the hex of a libp2p private key in its protobuf form, which is how other key types come in. Secrets live in
//! zeroized memory and show in no message of this module.

use std::{
    fmt, fs, io,
    io::Write,
    path::{Path, PathBuf},
};

use libp2p_identity::{Keypair, secp256k1};
use serde::{Serialize, Serializer};
use thiserror::Error;
use wakumix_keyring::private;
use wakumix_sphinx::PrivateKey;
use zeroize::Zeroizing;

/// Bytes of either kind of private key.
const KEY_LEN: usize = 32;
/// Hex characters of either kind of private key.
const KEY_HEX_LEN: usize = 2 * KEY_LEN;
/// Longest file that is read as a key, in bytes: an RSA key in protobuf form would be larger, and is refused anyway.
const MAX_KEY_FILE: u64 = 4096;

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum KeyKind {
    /// The libp2p identity: a secp256k1 scalar.
    Node,
    /// The mix key: an X25519 scalar.
    Mix,
}

/// The text of a secret. Wiped when dropped; shown as `[redacted]` by everything but [`Secret::expose`].
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

/// Why a text or file is no key. The messages name files and lengths, never content.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NodeKeyError {
    /// Nothing is there.
    #[error("key file {} does not exist", .0.display())]
    Missing(PathBuf),
    /// It cannot be read.
    #[error("key file {path} cannot be read: {1}", path = .0.display())]
    Unreadable(PathBuf, #[source] io::Error),
    /// Group or others have rights on it.
    #[error("key file {} is open to others (mode {mode:04o})", .path.display())]
    OpenToOthers {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It would be overwritten.
    #[error("key file {} exists already", .0.display())]
    Exists(PathBuf),
    /// It cannot be written.
    #[error("key file {path} cannot be written: {1}", path = .0.display())]
    Unwritable(PathBuf, #[source] io::Error),
    /// Too short or too long.
    #[error("the key has {0} characters; it must be {KEY_HEX_LEN} hex characters")]
    Length(usize),
    /// Other characters than hex digits.
    #[error("the key holds characters other than 0-9 and a-f")]
    NotHex,
    /// The bytes are no private key of the kind.
    #[error("the key is not a valid {0} private key")]
    Invalid(&'static str),
}

impl Secret {
    /// Takes over a text.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("[redacted]")
    }
}

impl KeyKind {
    /// The word used in flags and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Mix => "mix",
        }
    }
}

impl NodeKeyError {
    /// What to do about it.
    pub fn help(&self) -> String {
        match self {
            Self::Missing(path) => {
                format!("create it with `wakumix key new --output {}`", path.display())
            }
            Self::Unreadable(..) => "let the user that runs wakumix own the file, with mode 0600".to_owned(),
            Self::OpenToOthers { path, .. } => format!("run `chmod 600 {}`", path.display()),
            Self::Exists(_) => "choose another name with --output; a key is never overwritten".to_owned(),
            Self::Unwritable(..) => "choose a folder that you may write to".to_owned(),
            Self::Length(_) | Self::NotHex | Self::Invalid(_) => "create a key with `wakumix key new`".to_owned(),
        }
    }
}

/// Reads an identity: 64 hex characters of a secp256k1 scalar, or the hex of a libp2p private key in protobuf form.
pub fn parse_node_key(text: &str) -> Result<Keypair, NodeKeyError> {
    let text = text.trim();
    if text.len() > KEY_HEX_LEN && is_protobuf_key(text) {
        let bytes = decode_hex(text)?;
        return Keypair::from_protobuf_encoding(&bytes).map_err(|_| NodeKeyError::Invalid("libp2p"));
    }
    node_keypair(scalar(text)?)
}

/// Reads a mix key: 64 hex characters of an X25519 scalar.
pub fn parse_mix_key(text: &str) -> Result<PrivateKey, NodeKeyError> {
    let bytes = scalar(text.trim())?;
    if *bytes == [0; KEY_LEN] {
        return Err(NodeKeyError::Invalid("mix"));
    }
    Ok(PrivateKey::from_bytes(*bytes))
}

/// A new identity.
pub fn generate_node_key() -> Result<Keypair, NodeKeyError> {
    node_keypair(new_scalar(KeyKind::Node)?)
}

/// A new mix key.
pub fn generate_mix_key() -> PrivateKey {
    PrivateKey::generate(&mut rand::rng())
}

/// Reads the text of a key file that only its owner can read.
pub fn read_key_file(path: &Path) -> Result<Secret, NodeKeyError> {
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => NodeKeyError::Missing(path.to_owned()),
        _ => NodeKeyError::Unreadable(path.to_owned(), error),
    };
    let file = fs::File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if metadata.is_dir() {
        return Err(unreadable(io::ErrorKind::IsADirectory.into()));
    }
    check_mode(path, &metadata)?;
    let mut text = Zeroizing::new(String::with_capacity(KEY_HEX_LEN + 2));
    io::Read::read_to_string(&mut io::Read::take(file, MAX_KEY_FILE), &mut text).map_err(|error| {
        match error.kind() {
            io::ErrorKind::InvalidData => NodeKeyError::NotHex,
            _ => unreadable(error),
        }
    })?;
    Ok(Secret::new(text.trim().to_owned()))
}

/// The permission bits of a file on which group or others have rights; `None` for all others.
pub(crate) fn mode_open_to_others(path: &Path) -> Option<u32> {
    private::mode_open_to_others(&fs::metadata(path).ok()?)
}

/// Writes a new key of a kind to a new file that only its owner can read, and gives the key's text.
pub fn create_key_file(path: &Path, kind: KeyKind) -> Result<Secret, NodeKeyError> {
    let secret = new_key(kind)?;
    let mut options = fs::OpenOptions::new();
    let mut file = private::open(options.write(true).create_new(true), path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => NodeKeyError::Exists(path.to_owned()),
        _ => NodeKeyError::Unwritable(path.to_owned(), error),
    })?;
    file.write_all(secret.expose().as_bytes())
        .and_then(|()| file.write_all(b"\n"))
        .and_then(|()| file.sync_all())
        .map_err(|error| NodeKeyError::Unwritable(path.to_owned(), error))?;
    Ok(secret)
}

/// The text of a new key of a kind.
pub fn new_key(kind: KeyKind) -> Result<Secret, NodeKeyError> {
    Ok(Secret::new(hex::encode(*new_scalar(kind)?)))
}

/// A random scalar that is a valid key of its kind.
fn new_scalar(kind: KeyKind) -> Result<Zeroizing<[u8; KEY_LEN]>, NodeKeyError> {
    let mut bytes = Zeroizing::new([0; KEY_LEN]);
    match kind {
        KeyKind::Mix => bytes.copy_from_slice(generate_mix_key().as_bytes()),
        KeyKind::Node => {
            rand::Rng::fill_bytes(&mut rand::rng(), &mut *bytes);
            // All but 2^-128 of the strings are valid; the caller reports the rest.
            node_keypair(bytes.clone())?;
        }
    }
    Ok(bytes)
}

fn node_keypair(mut scalar: Zeroizing<[u8; KEY_LEN]>) -> Result<Keypair, NodeKeyError> {
    let secret = secp256k1::SecretKey::try_from_bytes(&mut *scalar).map_err(|_| NodeKeyError::Invalid("secp256k1"))?;
    Ok(Keypair::from(secp256k1::Keypair::from(secret)))
}

/// Tells a libp2p private key (fields 1 and 2: type, data) from a scalar of the wrong length.
fn is_protobuf_key(text: &str) -> bool {
    ["080012", "080112", "080212", "080312"].iter().any(|start| text.starts_with(start))
}

fn scalar(text: &str) -> Result<Zeroizing<[u8; KEY_LEN]>, NodeKeyError> {
    let length = text.chars().count();
    if length != KEY_HEX_LEN {
        return Err(NodeKeyError::Length(length));
    }
    let mut bytes = Zeroizing::new([0; KEY_LEN]);
    hex::decode_to_slice(text, &mut *bytes).map_err(|_| NodeKeyError::NotHex)?;
    Ok(bytes)
}

fn decode_hex(text: &str) -> Result<Zeroizing<Vec<u8>>, NodeKeyError> {
    let mut bytes = Zeroizing::new(vec![0; text.len() / 2]);
    hex::decode_to_slice(text, &mut bytes).map_err(|_| NodeKeyError::NotHex)?;
    Ok(bytes)
}

fn check_mode(path: &Path, metadata: &fs::Metadata) -> Result<(), NodeKeyError> {
    match private::mode_open_to_others(metadata) {
        Some(mode) => Err(NodeKeyError::OpenToOthers { path: path.to_owned(), mode }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use libp2p_identity::KeyType;

    use super::*;

    // `spec/waku.md §5.2`, first row: node key, peer id, mix key, mix public key.
    const NODE: &str = "f98e3fba96c32e8d1967d460f1b79457380e1a895f7971cecc8528abe733781a";
    const PEER: &str = "16Uiu2HAmPiEs2ozjjJF2iN2Pe2FYeMC9w4caRHKYdLdAfjgbWM6o";
    const MIX: &str = "a87db88246ec0eedda347b9b643864bee3d6933eb15ba41e6d58cb678d813258";
    const MIX_PUBLIC: &str = "9d09ce624f76e8f606265edb9cca2b7de9b41772a6d784bddaf92ffa8fba7d2c";

    #[test]
    fn derives_the_public_halves_of_a_nwaku_node() {
        assert_eq!(parse_node_key(NODE).unwrap().public().to_peer_id().to_string(), PEER);
        assert_eq!(parse_mix_key(MIX).unwrap().public().to_string(), MIX_PUBLIC);
    }

    #[test]
    fn reads_an_identity_in_protobuf_form() {
        let key = parse_node_key(&format!("08021220{NODE}")).unwrap();
        assert_eq!(key.key_type(), KeyType::Secp256k1);
        assert_eq!(key.public().to_peer_id().to_string(), PEER);
    }

    #[test]
    fn refuses_texts_that_are_no_key_without_repeating_them() {
        for (text, part) in [
            ("", "has 0 characters"),
            (&NODE[..62], "has 62 characters"),
            (&"z".repeat(64), "other than 0-9"),
            (&"f".repeat(64), "not a valid secp256k1"),
            ("0801124000", "has 10 characters"),
            (&format!("08011240{NODE}"), "not a valid libp2p"),
        ] {
            let message = parse_node_key(text).unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
            assert!(text.is_empty() || !message.contains(text));
        }
        assert!(matches!(parse_mix_key(&"0".repeat(64)), Err(NodeKeyError::Invalid("mix"))));
    }

    #[test]
    fn creates_a_file_for_its_owner_alone_and_never_overwrites_it() {
        let folder = tempfile::tempdir().unwrap();
        for kind in [KeyKind::Node, KeyKind::Mix] {
            let path = folder.path().join(kind.name());
            let secret = create_key_file(&path, kind).unwrap();
            assert_eq!(read_key_file(&path).unwrap(), secret);
            assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", secret.expose()));
            let error = create_key_file(&path, kind).unwrap_err();
            assert!(matches!(error, NodeKeyError::Exists(_)), "{error}");
            assert_eq!(read_key_file(&path).unwrap(), secret);
        }
    }

    #[cfg(unix)]
    #[test]
    fn refuses_files_that_others_can_read() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        create_key_file(&path, KeyKind::Node).unwrap();
        for mode in [0o644, 0o604, 0o606] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = read_key_file(&path).unwrap_err();
            assert!(error.to_string().contains(&format!("{mode:04o}")), "{error}");
            assert!(error.help().contains("chmod 600"));
        }
        // Kubernetes gives a secret to a group of the process, behind a link.
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("key", &link).unwrap();
        for mode in [0o400, 0o440, 0o640, 0o660] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert!(read_key_file(&link).is_ok(), "{mode:o}");
        }
    }

    #[test]
    fn names_the_file_that_is_missing_or_unreadable() {
        let folder = tempfile::tempdir().unwrap();
        let missing = read_key_file(&folder.path().join("none")).unwrap_err();
        assert!(missing.to_string().contains("does not exist"), "{missing}");
        assert!(missing.help().contains("wakumix key new"));
        let unreadable = read_key_file(folder.path()).unwrap_err();
        assert!(unreadable.to_string().contains("cannot be read"), "{unreadable}");
    }

    #[test]
    fn a_secret_shows_nowhere() {
        let secret = Secret::new(NODE.to_owned());
        assert_eq!(format!("{secret:?}"), "[redacted]");
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"[redacted]\"");
    }
}
