//! An authority that issues certificates to tests.

use std::{fs, path::Path};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, date_time_ymd,
};

use crate::Files;

/// Its own authority.
pub struct Authority {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

/// A certificate with its key, in PEM.
#[derive(Clone)]
pub struct Issued {
    /// The chain.
    pub certificate: String,
    /// The private key.
    pub key: String,
    /// The certificate in DER.
    pub der: Vec<u8>,
    /// The private key in DER.
    pub key_der: Vec<u8>,
}

/// The years in which a certificate is valid, each from its first of January.
pub type Years = (i32, i32);

/// From before this project until long after it.
pub const VALID: Years = (2020, 2120);
/// It ended long ago.
pub const ENDED: Years = (2020, 2021);
/// It begins long after.
pub const NOT_YET: Years = (2110, 2120);

impl Authority {
    /// Makes an authority.
    #[must_use]
    #[expect(clippy::missing_panics_doc, clippy::unwrap_used, reason = "a failing step of a test is a failing test")]
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        (params.not_before, params.not_after) = (date_time_ymd(VALID.0, 1, 1), date_time_ymd(VALID.1, 1, 1));
        let key = KeyPair::generate().unwrap();
        Self { certificate: params.self_signed(&key).unwrap(), key }
    }

    /// Its own certificate, in PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// Its own certificate, in DER.
    #[must_use]
    pub fn der(&self) -> Vec<u8> {
        self.certificate.der().to_vec()
    }

    /// Issues a certificate for names and IP addresses.
    #[must_use]
    #[expect(clippy::missing_panics_doc, clippy::unwrap_used, reason = "a failing step of a test is a failing test")]
    pub fn issue(&self, names: &[&str], years: Years) -> Issued {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        (params.not_before, params.not_after) = (date_time_ymd(years.0, 1, 1), date_time_ymd(years.1, 1, 1));
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.certificate, &self.key).unwrap();
        Issued {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            der: certificate.der().to_vec(),
            key_der: key.serialize_der(),
        }
    }
}

impl Issued {
    /// Writes `certificate.pem` and `key.pem` into a folder, the key for its owner alone.
    #[expect(clippy::missing_panics_doc, clippy::unwrap_used, reason = "a failing step of a test is a failing test")]
    pub fn write(&self, folder: &Path) -> Files {
        let files = Files { certificate: folder.join("certificate.pem"), key: folder.join("key.pem"), name: None };
        fs::write(&files.certificate, &self.certificate).unwrap();
        fs::write(&files.key, &self.key).unwrap();
        #[cfg(unix)]
        fs::set_permissions(&files.key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        files
    }
}
