//! Certificates that are named, and those that are missing.

use wakumix_tls::{CertificateError, ClientCa, Files};

use super::Review;
use crate::clock;

const SUPPORT: &str = "websocket-secure-support";
const CERTIFICATE: &str = "websocket-secure-cert-path";
const KEY: &str = "websocket-secure-key-path";
const PORT: &str = "websocket-secure-port";
const HTTP_CERTIFICATE: &str = "rest-tls-cert-path";
const HTTP_KEY: &str = "rest-tls-key-path";
const HTTP_CLIENT_CA: &str = "rest-tls-client-ca-path";
const ALLOW_INSECURE: &str = "rest-allow-insecure";

impl Review<'_> {
    /// WebSocket over TLS has what it needs.
    pub(super) fn websocket_certificate(&mut self) {
        let config = self.config;
        if !config.websocket_secure_support {
            for key in [CERTIFICATE, KEY, PORT].into_iter().filter(|key| self.is_written(key)).collect::<Vec<_>>() {
                let key = self.named(key);
                self.warn(format!("{key} has no effect: {SUPPORT} is false"));
            }
            return;
        }
        match config.websocket_certificate() {
            Some(files) => self.certificate(&files, CERTIFICATE, KEY),
            None => {
                let missing = if config.websocket_secure_cert_path.is_none() { CERTIFICATE } else { KEY };
                let message = format!("{} serves TLS, and `{missing}` is not set", self.named(SUPPORT));
                let help = format!(
                    "set {CERTIFICATE} and {KEY} to the files of a certificate, or let a proxy with one pass on to \
                     websocket-port and announce it: ext-multiaddr = [\"/dns4/<name>/tcp/443/wss\"]"
                );
                self.problem(&[SUPPORT, CERTIFICATE, KEY], message, help);
            }
        }
    }

    /// TLS of REST and metrics has what it needs.
    pub(super) fn http_certificate(&mut self) {
        let config = self.config;
        let keys = [HTTP_CERTIFICATE, HTTP_KEY, HTTP_CLIENT_CA];
        if !config.rest && !config.metrics_server {
            for key in keys.into_iter().filter(|key| self.is_written(key)).collect::<Vec<_>>() {
                let key = self.named(key);
                self.warn(format!("{key} has no effect: rest and metrics-server are off"));
            }
            return;
        }
        let set = [&config.rest_tls_cert_path, &config.rest_tls_key_path, &config.rest_tls_client_ca_path];
        let Some(named) = keys.into_iter().zip(set).find(|(_, path)| path.is_some()).map(|(key, _)| key) else {
            return;
        };
        let Some(files) = config.http_certificate() else {
            let missing = if config.rest_tls_cert_path.is_none() { HTTP_CERTIFICATE } else { HTTP_KEY };
            let message = format!("{} serves TLS, and `{missing}` is not set", self.named(named));
            self.problem(
                &keys,
                message,
                format!("set {HTTP_CERTIFICATE} and {HTTP_KEY} to the files of a certificate"),
            );
            return;
        };
        self.certificate(&files, HTTP_CERTIFICATE, HTTP_KEY);
        if let Some(Err(error)) = config.rest_tls_client_ca_path.as_deref().map(ClientCa::load) {
            let message = format!("{}: {error}", self.named(HTTP_CLIENT_CA));
            let help = "name a file with the certificates of the authorities that issue those of clients, in PEM";
            self.problem(&[HTTP_CLIENT_CA], message, help);
        }
    }

    /// What a node serves to everybody who reaches its REST, in a line: less than on loopback, or more than is safe.
    pub(super) fn open_network(&mut self) {
        let config = self.config;
        let is_open = !config.rest_address.is_loopback() && config.rest_tls_cert_path.is_none();
        if !is_open {
            return;
        }
        let address = self.named("rest-address");
        if !config.takes_changes() {
            self.warn(format!(
                "{address} is {}, without TLS: REST only reads there, and refuses POST, DELETE and /admin; set \
                 {HTTP_CERTIFICATE} and {HTTP_KEY}, or rest-token-file, or rest-allow-insecure = true",
                config.rest_address
            ));
        } else if config.rest_allow_insecure && config.rest_token_file.is_none() {
            let key = self.named(ALLOW_INSECURE);
            self.warn(format!(
                "{address} is {}, without TLS and token, and {key} is true: whoever reaches it publishes as this node",
                config.rest_address
            ));
        }
    }

    /// Whether files hold a certificate that can be served. One that has ended or begins later is served all the same, for the
    /// node has other work; it is not ready until that changes.
    fn certificate(&mut self, files: &Files, certificate: &'static str, key: &'static str) {
        match files.load() {
            Ok(loaded) => {
                if let Err(error) = files.in_time(&loaded, clock::unix_seconds()) {
                    let named = self.named(certificate);
                    self.warn(format!(
                        "{named}: {error}: clients refuse it, and the node is not ready; {}",
                        error.help()
                    ));
                }
            }
            Err(error) => {
                let named = if is_of_key(&error, files) { key } else { certificate };
                let message = format!("{}: {error}", self.named(named));
                self.problem(&[certificate, key], message, error.help());
            }
        }
    }
}

/// Whether it is the file of the key that an error is about.
fn is_of_key(error: &CertificateError, files: &Files) -> bool {
    error.path() == Some(&files.key)
}
