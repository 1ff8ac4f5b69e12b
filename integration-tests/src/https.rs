//! Requests to servers over TLS, from a client that trusts one authority and may show its own certificate.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use wakumix_tls::{
    rustls::{
        ClientConfig, RootCertStore,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName},
    },
    testing::{Authority, Issued},
};

use crate::within;

/// A client.
pub struct HttpsClient(TlsConnector);

/// An answer, whatever its status.
#[derive(Debug)]
pub struct HttpsAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The body as text.
    pub body: String,
}

impl HttpsClient {
    /// Trusts an authority, and shows a certificate if it has one.
    pub fn new(authority: &Authority, own: Option<&Issued>) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(authority.der())).unwrap();
        let builder = ClientConfig::builder_with_provider(wakumix_tls::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match own {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let key = PrivateKeyDer::try_from(own.key_der.clone()).unwrap();
                builder.with_client_auth_cert(vec![own.der.clone().into()], key).unwrap()
            }
        };
        Self(TlsConnector::from(Arc::new(config)))
    }

    /// Sends a request without a body, and reads the whole answer.
    ///
    /// # Errors
    /// The handshake failed, or the server ended the connection.
    pub async fn ask(&self, server: SocketAddr, method: &str, path: &str) -> std::io::Result<HttpsAnswer> {
        self.send(server, method, path, "").await
    }

    /// Sends a request with a body of JSON.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub async fn send(&self, server: SocketAddr, method: &str, path: &str, body: &str) -> std::io::Result<HttpsAnswer> {
        within(async {
            let mut stream = self.connect(server).await?;
            let len = body.len();
            let head = format!(
                "{method} {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\nContent-Type: application/json\r\n\
                 Content-Length: {len}\r\n\r\n{body}"
            );
            stream.write_all(head.as_bytes()).await?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await?;
            let answer = String::from_utf8(answer).expect("an answer of text");
            let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
            let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
            Ok(HttpsAnswer { status, body: body.to_owned() })
        })
        .await
    }

    /// The certificate that a server shows.
    ///
    /// # Errors
    /// The handshake failed.
    pub async fn shown(&self, server: SocketAddr) -> std::io::Result<Vec<u8>> {
        let stream = within(self.connect(server)).await?;
        Ok(stream.get_ref().1.peer_certificates().expect("it shows one")[0].to_vec())
    }

    async fn connect(&self, server: SocketAddr) -> std::io::Result<TlsStream<TcpStream>> {
        let name = ServerName::IpAddress(server.ip().into());
        self.0.connect(name, TcpStream::connect(server).await?).await
    }
}

/// What a client of TLS begins with, and goes no further.
pub fn client_hello() -> Vec<u8> {
    let config = ClientConfig::builder_with_provider(wakumix_tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let name = "127.0.0.1".try_into().unwrap();
    let mut client = wakumix_tls::rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}
