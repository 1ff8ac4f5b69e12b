//! The authority whose certificates clients have to show.

use std::{path::Path, sync::Arc};

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use crate::files::{CertificateError, bad_pem, read};

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
        let text = read(path, false)?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&text) {
            let certificate = certificate.map_err(|error| bad_pem(path, &error))?;
            roots
                .add(certificate)
                .map_err(|error| CertificateError::Unusable { path: path.to_owned(), reason: error.to_string() })?;
        }
        if roots.is_empty() {
            return Err(CertificateError::WrongContent { path: path.to_owned(), wanted: "certificate", found: "" });
        }
        Ok(Self { roots: Arc::new(roots) })
    }

    pub(crate) fn roots(&self) -> Arc<RootCertStore> {
        Arc::clone(&self.roots)
    }
}
