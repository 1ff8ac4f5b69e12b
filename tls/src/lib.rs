//! TLS of this node: certificates from files, checked, watched and served; one place for WebSocket and HTTP.
//!
//! - [`Files`] names a certificate chain and its key in PEM; [`Files::load`] reads and checks them, and every error says which
//!   file, what is wrong and what to do.
//! - A [`ServedCertificate`] is what a listener hands to clients. [`ServedCertificate::look`] reads the files again: a good pair that has changed is
//!   served to the next handshake, a broken one is reported once and the certificate before it stays.
//! - [`server_config`] makes the configuration of a listener; [`ClientCa`] has it ask clients for certificates.
//!
//! The provider of cryptography is named: [`provider`]. rustls has two of them in a program with libp2p, and then refuses to
//! choose. aws-lc-rs also does the key exchange that withstands quantum computers (X25519MLKEM768), which browsers offer.
//!
//! Non-goals: sockets, certificates from an authority (ACME), revocation.

mod client_ca;
mod files;
mod metrics;
mod served;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

use std::sync::Arc;

pub use rustls;
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    server::{NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier, danger::ClientCertVerifier},
};

pub use client_ca::{ClientCa, authorities};
pub use files::{Certificate, CertificateError, Files, Validity};
pub use metrics::METRICS;
pub use served::{Look, ServedCertificate, Surface};

/// What computes for TLS here.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// The configuration of a listener that serves TLS 1.3 and 1.2, and asks clients for a certificate if there is an authority
/// for them. A client without a certificate is let in all the same: the listener decides what it may do.
///
/// No session is ever resumed: a ticket would tell a listener, and whoever reads TLS 1.2 on the way, that two connections are
/// of one client, and each would take memory.
///
/// # Errors
/// Of rustls; a certificate authority that it cannot use.
pub fn server_config(
    served: Arc<ServedCertificate>,
    client_ca: Option<&ClientCa>,
) -> Result<ServerConfig, rustls::Error> {
    config_for(served, client_ca)
}

fn config_for(
    resolver: Arc<dyn ResolvesServerCert>,
    client_ca: Option<&ClientCa>,
) -> Result<ServerConfig, rustls::Error> {
    let provider = provider();
    let clients: Arc<dyn ClientCertVerifier> = match client_ca {
        None => WebPkiClientVerifier::no_client_auth(),
        Some(authority) => WebPkiClientVerifier::builder_with_provider(authority.roots(), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?,
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(clients)
        .with_cert_resolver(resolver);
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

#[cfg(test)]
mod tests;
