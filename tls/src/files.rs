//! Reading a certificate and its key, and what can be wrong with them.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    Error, InconsistentKeys,
    client::verify_server_name,
    pki_types::{
        CertificateDer, PrivateKeyDer, ServerName,
        pem::{self, PemObject as _},
    },
    server::ParsedCertificate,
    sign::CertifiedKey,
};
use sha2::{Digest as _, Sha256};
use wakumix_keyring::private;
use x509_parser::{extensions::GeneralName, parse_x509_certificate};
use zeroize::Zeroizing;

/// The longest file that is read, in bytes: a chain of ten certificates has 20 kB.
const MAX_LEN: u64 = 256 << 10;

/// Where a certificate and its key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The chain in PEM, the node's own certificate first.
    pub certificate: PathBuf,
    /// Its private key in PEM, readable by nobody but its owner and own group.
    pub key: PathBuf,
    /// The name that the certificate has to cover, if clients use one.
    pub name: Option<String>,
}

/// A certificate that can be served.
pub struct Certificate {
    pub(crate) key: Arc<CertifiedKey>,
    /// When it begins and ends, in seconds of Unix time.
    begins: i64,
    ends: i64,
}

/// How a certificate stands at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// Clients take it.
    Valid,
    /// It begins later.
    NotYet,
    /// It has ended.
    Ended,
}

/// Why files give no certificate that can be served. The messages never hold content.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// Nothing is there.
    #[error("file {} does not exist", .0.display())]
    Missing(PathBuf),
    /// It cannot be read.
    #[error("file {path} cannot be read: {1}", path = .0.display())]
    Unreadable(PathBuf, #[source] io::Error),
    /// Others than owner and group have rights on the key.
    #[error("key file {} is open to others (mode {mode:04o})", .path.display())]
    OpenToOthers {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is too long for a certificate.
    #[error("file {} is longer than {MAX_LEN} bytes", .0.display())]
    TooLong(PathBuf),
    /// It holds something else.
    #[error("file {path} holds no {wanted} in PEM{found}", path = .path.display())]
    WrongContent {
        /// The file.
        path: PathBuf,
        /// What should be there.
        wanted: &'static str,
        /// What is there, as the end of the sentence.
        found: &'static str,
    },
    /// A block of PEM that does not end, or is not base64.
    #[error("file {} is not well-formed PEM: {reason}", .path.display())]
    BadPem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// It is a certificate or key that cannot be used.
    #[error("file {} cannot be used: {reason}", .path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The key is that of another certificate.
    #[error("the key in {} is not that of the certificate in {}", .key.display(), .certificate.display())]
    KeyMismatch {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// It is for other names.
    #[error("the certificate in {path} is not for {name}, but for {names}", path = .path.display())]
    WrongName {
        /// The file.
        path: PathBuf,
        /// The name that clients use.
        name: String,
        /// The names in the certificate.
        names: String,
    },
    /// It has ended.
    #[error("the certificate in {path} ended on {ended}", path = .path.display())]
    Ended {
        /// The file.
        path: PathBuf,
        /// When.
        ended: String,
    },
    /// It begins later.
    #[error("the certificate in {path} begins on {begins}, after the present time of this machine", path = .path.display())]
    NotYet {
        /// The file.
        path: PathBuf,
        /// When.
        begins: String,
    },
}

impl CertificateError {
    /// The file that it is about, if it is one alone.
    #[must_use]
    pub fn path(&self) -> Option<&PathBuf> {
        match self {
            Self::Missing(path)
            | Self::Unreadable(path, _)
            | Self::OpenToOthers { path, .. }
            | Self::TooLong(path)
            | Self::WrongContent { path, .. }
            | Self::BadPem { path, .. }
            | Self::Unusable { path, .. }
            | Self::WrongName { path, .. }
            | Self::Ended { path, .. }
            | Self::NotYet { path, .. } => Some(path),
            Self::KeyMismatch { .. } => None,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn help(&self) -> String {
        match self {
            Self::Missing(_) => "put the file there, or name one that exists".to_owned(),
            Self::Unreadable(..) => {
                "let the user or a group of the process read it, and enter every folder above it".to_owned()
            }
            Self::OpenToOthers { path, .. } => format!("run `chmod o= {}`", path.display()),
            Self::TooLong(_) | Self::WrongContent { wanted: "certificate", .. } => {
                "name the file with the chain, the node's own certificate first, such as fullchain.pem".to_owned()
            }
            Self::WrongContent { .. } => {
                "name the file with the private key of the certificate, without a password, such as privkey.pem".to_owned()
            }
            Self::BadPem { .. } => "copy the file again: each block begins with -----BEGIN and ends with -----END".to_owned(),
            Self::Unusable { .. } => {
                "use a certificate of version 3 with a key of ECDSA P-256 or P-384, Ed25519, or RSA of 2048 bits or more".to_owned()
            }
            Self::KeyMismatch { .. } => "name the two files that were issued together".to_owned(),
            Self::WrongName { name, .. } => format!("have a certificate issued for {name}, or set the name that it has"),
            Self::Ended { .. } => "renew it; the node takes the new file without a restart".to_owned(),
            Self::NotYet { .. } => "check the clock of this machine, or wait".to_owned(),
        }
    }
}

/// The bytes of both files, before anybody has looked at them.
pub(crate) struct Raw {
    certificate: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
}

impl Raw {
    /// Tells one content from another.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.certificate.len().to_be_bytes());
        hash.update(&self.certificate);
        hash.update(&self.key[..]);
        hash.finalize().into()
    }
}

impl Files {
    /// Reads and checks both files. How the certificate stands in time is for the caller: see [`Certificate::validity`] and
    /// [`Self::in_time`].
    ///
    /// # Errors
    /// What is wrong with which file.
    pub fn load(&self) -> Result<Certificate, CertificateError> {
        self.judge(&self.read()?)
    }

    /// The file of the key, as it is.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn read_key(&self) -> Result<Zeroizing<Vec<u8>>, CertificateError> {
        read(&self.key, true)
    }

    pub(crate) fn read(&self) -> Result<Raw, CertificateError> {
        let certificate = read(&self.certificate, false)?.to_vec();
        Ok(Raw { certificate, key: read(&self.key, true)? })
    }

    pub(crate) fn judge(&self, raw: &Raw) -> Result<Certificate, CertificateError> {
        let chain = self.chain(&raw.certificate)?;
        let key = self.private_key(&raw.key)?;
        let unusable = |path: &Path, reason: String| CertificateError::Unusable { path: path.to_owned(), reason };
        let own = chain.first().cloned().unwrap_or_else(|| Vec::new().into());
        let (_, parsed) = parse_x509_certificate(&own)
            .map_err(|_| unusable(&self.certificate, "its first block is not an X.509 certificate".to_owned()))?;
        let validity = parsed.validity();
        let (begins, ends) = (validity.not_before.timestamp(), validity.not_after.timestamp());
        self.check_name(&own, &parsed)?;
        let key = CertifiedKey::from_der(chain, key, &crate::provider()).map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                CertificateError::KeyMismatch { certificate: self.certificate.clone(), key: self.key.clone() }
            }
            Error::InvalidCertificate(_) => unusable(&self.certificate, error.to_string()),
            _ => unusable(&self.key, "its kind of key is not supported, or it is damaged".to_owned()),
        })?;
        Ok(Certificate { key: Arc::new(key), begins, ends })
    }

    /// A certificate that clients take at this time.
    ///
    /// # Errors
    /// It has ended, or begins later.
    pub fn in_time(&self, certificate: &Certificate, now: u64) -> Result<(), CertificateError> {
        let path = self.certificate.clone();
        match certificate.validity(now) {
            Validity::Valid => Ok(()),
            Validity::NotYet => Err(CertificateError::NotYet { path, begins: day(certificate.begins) }),
            Validity::Ended => Err(CertificateError::Ended { path, ended: day(certificate.ends) }),
        }
    }

    fn chain(&self, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
        let chain = chain.map_err(|error| bad_pem(&self.certificate, &error))?;
        if chain.is_empty() {
            return Err(wrong_content(&self.certificate, "certificate", text));
        }
        Ok(chain)
    }

    fn private_key(&self, text: &[u8]) -> Result<PrivateKeyDer<'static>, CertificateError> {
        match PrivateKeyDer::from_pem_slice(text) {
            Ok(key) => Ok(key),
            Err(pem::Error::NoItemsFound) => Err(wrong_content(&self.key, "private key", text)),
            Err(error) => Err(bad_pem(&self.key, &error)),
        }
    }

    fn check_name(
        &self,
        own: &CertificateDer<'_>,
        parsed: &x509_parser::certificate::X509Certificate<'_>,
    ) -> Result<(), CertificateError> {
        let Some(name) = &self.name else { return Ok(()) };
        let certificate = ParsedCertificate::try_from(own).map_err(|error| CertificateError::Unusable {
            path: self.certificate.clone(),
            reason: error.to_string(),
        })?;
        let is_covered =
            ServerName::try_from(name.as_str()).is_ok_and(|name| verify_server_name(&certificate, &name).is_ok());
        if is_covered {
            return Ok(());
        }
        let names = parsed.subject_alternative_name().ok().flatten();
        let names: Vec<String> = names.iter().flat_map(|names| &names.value.general_names).filter_map(shown).collect();
        let names = if names.is_empty() { "no name at all".to_owned() } else { names.join(", ") };
        Err(CertificateError::WrongName { path: self.certificate.clone(), name: name.clone(), names })
    }
}

impl Certificate {
    /// How it stands at this time, in seconds of Unix time.
    #[must_use]
    pub fn validity(&self, now: u64) -> Validity {
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        if now < self.begins {
            Validity::NotYet
        } else if now > self.ends {
            Validity::Ended
        } else {
            Validity::Valid
        }
    }

    /// The certificates, the node's own first.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.key.cert
    }

    /// When it ends, in seconds of Unix time.
    #[must_use]
    pub fn ends(&self) -> i64 {
        self.ends
    }
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Certificate({} to {})", day(self.begins), day(self.ends))
    }
}

/// A file of at most [`MAX_LEN`] bytes; one with a secret must be closed to others.
pub(crate) fn read(path: &Path, is_secret: bool) -> Result<Zeroizing<Vec<u8>>, CertificateError> {
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => CertificateError::Missing(path.to_owned()),
        _ => CertificateError::Unreadable(path.to_owned(), error),
    };
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        let error = io::Error::other("it is not a regular file");
        return Err(CertificateError::Unreadable(path.to_owned(), error));
    }
    if let Some(mode) = private::mode_open_to_others(&metadata).filter(|_| is_secret) {
        return Err(CertificateError::OpenToOthers { path: path.to_owned(), mode });
    }
    // Room for all of it at once: what grows leaves copies behind.
    let len = usize::try_from(metadata.len().min(MAX_LEN)).unwrap_or_default();
    let mut bytes = Zeroizing::new(Vec::with_capacity(len + 1));
    file.take(MAX_LEN + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if u64::try_from(bytes.len()).is_ok_and(|len| len <= MAX_LEN) {
        Ok(bytes)
    } else {
        Err(CertificateError::TooLong(path.to_owned()))
    }
}

/// Says what a file without the wanted block holds.
fn wrong_content(path: &Path, wanted: &'static str, text: &[u8]) -> CertificateError {
    let has = |kind: &[u8]| text.windows(kind.len()).any(|window| window == kind);
    let found = if has(b"-----BEGIN ENCRYPTED PRIVATE KEY") {
        ": it holds a key with a password"
    } else if has(b"PRIVATE KEY-----") {
        ": it holds a private key"
    } else if has(b"-----BEGIN CERTIFICATE-----") {
        ": it holds a certificate"
    } else if has(b"-----BEGIN ") {
        ": it holds blocks of other kinds"
    } else {
        ": it holds no block of PEM"
    };
    CertificateError::WrongContent { path: path.to_owned(), wanted, found }
}

pub(crate) fn bad_pem(path: &Path, error: &pem::Error) -> CertificateError {
    let reason = match error {
        pem::Error::MissingSectionEnd { .. } => "a block does not end",
        pem::Error::IllegalSectionStart { .. } => "a block begins with a malformed line",
        pem::Error::Base64Decode(_) => "a block is not base64",
        _ => "it cannot be read",
    };
    CertificateError::BadPem { path: path.to_owned(), reason: reason.to_owned() }
}

/// A name as an error shows it.
fn shown(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).escape_default().to_string()),
        GeneralName::IPAddress(bytes) => match bytes {
            [a, b, c, d] => Some(std::net::Ipv4Addr::new(*a, *b, *c, *d).to_string()),
            _ => <[u8; 16]>::try_from(*bytes).ok().map(|bytes| std::net::Ipv6Addr::from(bytes).to_string()),
        },
        _ => None,
    }
}

/// A time in words, such as `2026-12-01 11:40 UTC`.
pub(crate) fn day(unix: i64) -> String {
    let days = unix.div_euclid(86_400);
    let minutes = unix.rem_euclid(86_400) / 60;
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02} UTC", minutes / 60, minutes % 60)
}

/// The date of a day since 1970 in the Gregorian calendar: years begin in March, so that a leap day is the last of its year,
/// and 400 years have 146 097 days.
fn civil(days: i64) -> (i64, i64, i64) {
    let since_march_0 = days + 719_468;
    let era = since_march_0.div_euclid(146_097);
    let of_era = since_march_0.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}
