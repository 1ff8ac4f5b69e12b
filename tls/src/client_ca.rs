//! The authority whose certificates clients have to show.

use std::{path::Path, sync::Arc};

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use crate::files::{CertificateError, bad_pem, read};

/// Every certificate of a file.
///
/// # Errors
/// What is wrong with the file; that it holds none.
pub fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let text = read(path, false)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|error| bad_pem(path, &error))?;
    if found.is_empty() {
        return Err(CertificateError::WrongContent { path: path.to_owned(), wanted: "certificate", found: "" });
    }
    Ok(found)
}

/// Certificates of authorities that clients are checked against.
#[derive(Clone, Debug)]
pub struct ClientCa {
    roots: Arc<RootCertStore>,
}

impl ClientCa {
    /// Reads every certificate of a file.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn load(path: &Path) -> Result<Self, CertificateError> {
        let mut roots = RootCertStore::empty();
        for certificate in authorities(path)? {
            roots
                .add(certificate)
                .map_err(|error| CertificateError::Unusable { path: path.to_owned(), reason: error.to_string() })?;
        }
        Ok(Self { roots: Arc::new(roots) })
    }

    pub(crate) fn roots(&self) -> Arc<RootCertStore> {
        Arc::clone(&self.roots)
    }
}
