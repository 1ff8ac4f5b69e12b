//! Asking a running node over REST, and telling a node from other servers and from silence.

use std::{ffi::OsString, io::Read, path::PathBuf, time::Duration};

use serde::de::DeserializeOwned;
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};
use wakumix_node::{
    config::Problem,
    token::{Token, TokenError},
};
use wakumix_role_api::command::{CommandError, NodeClient, one_line};
use wakumix_tls::{CertificateError, Files, rustls::pki_types::CertificateDer};

use super::Failure;

/// The longest answer that is read: a directory of 16 384 nodes at a kilobyte each, and as much again.
const MAX_ANSWER: u64 = 32 << 20;

/// The variable that names the file of the token: the one that sets `rest-token-file` of a node.
const TOKEN_FILE: &str = "WAKUMIX_REST_TOKEN_FILE";

/// A running node.
pub(super) struct RestNode {
    base: String,
    agent: ureq::Agent,
    token: Option<Token>,
}

/// What shows a node that its operator asks, and the operator that it is the node.
#[derive(Default)]
pub(super) struct Access {
    token: Option<Token>,
    tls: TlsConfig,
}

// What shows a node that its operator asks. A doc comment would become the help of the subcommand of a role that takes this.
#[derive(Debug, Default, clap::Args)]
pub(super) struct AccessArgs {
    /// File with the token of the node's REST interface, where it has one: its rest-token-file [env: WAKUMIX_REST_TOKEN_FILE]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// File with the authority of the node's certificate in PEM, for a node with https; else those that browsers trust
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// File with a client certificate in PEM, for a node with rest-tls-client-ca-path
    #[arg(long, value_name = "FILE", requires = "client_key_file")]
    client_cert_file: Option<PathBuf>,
    /// File with its private key in PEM
    #[arg(long, value_name = "FILE", requires = "client_cert_file")]
    client_key_file: Option<PathBuf>,
}

impl AccessArgs {
    /// The content of the files that are named.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub(super) fn read(&self) -> Result<Access, Failure> {
        self.read_or(std::env::var_os(TOKEN_FILE))
    }

    fn read_or(&self, variable: Option<OsString>) -> Result<Access, Failure> {
        let named = variable.filter(|path| !path.is_empty()).map(PathBuf::from);
        let path = self.token_file.clone().or(named);
        let token = path.map(|path| Token::read(&path)).transpose()?;
        Ok(Access { token, tls: self.tls()? })
    }

    fn tls(&self) -> Result<TlsConfig, Failure> {
        let mut tls = TlsConfig::builder().unversioned_rustls_crypto_provider(wakumix_tls::provider());
        let owned = |certificates: &[CertificateDer<'_>]| -> Vec<Certificate<'static>> {
            certificates.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect()
        };
        if let Some(path) = &self.ca_file {
            tls = tls.root_certs(RootCerts::new_with_certs(&owned(&wakumix_tls::authorities(path)?)));
        }
        if let Some((certificate, key)) = self.client_cert_file.clone().zip(self.client_key_file.clone()) {
            let own = Files { certificate, key, name: None };
            let (loaded, key) = (own.load()?, own.read_key()?);
            let unusable = |error: ureq::Error| {
                let message = format!("file {} cannot be used: {error}", own.key.display());
                Failure::Input(Problem::new(message, "name the file with the private key of the certificate").into())
            };
            let key = PrivateKey::from_pem(&key).map_err(unusable)?;
            tls = tls.client_cert(Some(ClientCert::new_with_certs(&owned(loaded.chain()), key)));
        }
        Ok(tls.build())
    }
}

impl From<CertificateError> for Failure {
    fn from(error: CertificateError) -> Self {
        Self::Input(Problem::new(error.to_string(), error.help()).into())
    }
}

impl From<TokenError> for Failure {
    fn from(error: TokenError) -> Self {
        Self::Input(Problem::new(error.to_string(), error.help()).into())
    }
}

/// What stands before the paths of a node's routes: scheme, host, port, and the path of a proxy.
fn base_of(via: &str) -> Result<String, String> {
    if let Some((scheme, _)) = via.split_once("://").filter(|(scheme, _)| !["http", "https"].contains(scheme)) {
        return Err(format!("`{scheme}` is not served by nodes"));
    }
    let base = if via.contains("://") { via.to_owned() } else { format!("http://{via}") };
    // Not repeated: what stands before the @ may be a password.
    if base.split('/').nth(2).is_some_and(|authority| authority.contains('@')) {
        return Err("the address has a user or a password, which nodes do not ask for; see --token-file".to_owned());
    }
    let malformed = || format!("`{}` is not an address with http or https", via.escape_debug());
    let uri: ureq::http::Uri = base.parse().map_err(|_| malformed())?;
    let authority = uri.authority().map(ureq::http::uri::Authority::as_str).unwrap_or_default();
    let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(malformed)?;
    // A port that is not one would be read as none, and port 80 be asked.
    let port = authority.strip_prefix(host).and_then(|rest| rest.strip_prefix(':'));
    if let Some(port) = port.filter(|port| !port.parse::<u16>().is_ok_and(|port| port != 0)) {
        return Err(format!("`{port}` is not a port from 1 to 65535"));
    }
    if uri.query().is_some() || via.contains('#') {
        return Err(format!("`{via}` has more than scheme, host, port and path"));
    }
    Ok(base.trim_end_matches('/').to_owned())
}

/// Why a node gave no answer.
fn cause(error: &ureq::Error) -> String {
    use wakumix_tls::rustls::{CertificateError as Wrong, Error as Tls};
    let tls = match error {
        ureq::Error::Rustls(tls) => Some(tls),
        ureq::Error::Io(io) => io.get_ref().and_then(|inner| inner.downcast_ref::<Tls>()),
        ureq::Error::Protocol(_) => return "the answer is not HTTP".to_owned(),
        _ => None,
    };
    match tls {
        Some(Tls::InvalidCertificate(Wrong::UnknownIssuer)) => {
            "the authority of its certificate is not among those that are trusted".to_owned()
        }
        _ => {
            let words = error.to_string();
            words.strip_prefix("io: ").unwrap_or(&words).to_owned()
        }
    }
}

/// What a node answers.
pub(super) struct Answer<'a> {
    node: &'a RestNode,
    response: ureq::http::Response<ureq::Body>,
}

impl RestNode {
    /// The node at an address such as `http://127.0.0.1:8645`, which has so long for an answer and is shown the operator's token and certificate.
    ///
    /// # Errors
    /// When it is not such an address.
    pub(super) fn at(via: &str, limit: Duration, access: Access) -> Result<Self, Failure> {
        let base = base_of(via).map_err(|wrong| {
            let problem = Problem::new(format!("--via: {wrong}"), "write it as http://127.0.0.1:8645");
            Failure::Input(problem.into())
        })?;
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_recv_response(Some(limit));
        let Access { token, tls } = access;
        let config = config.timeout_connect(Some(limit)).proxy(None).tls_config(tls);
        Ok(Self { base, agent: config.build().into(), token })
    }

    /// Reads `path`.
    ///
    /// # Errors
    /// When nobody answers.
    pub(super) fn get(&self, path: &str) -> Result<Answer<'_>, Failure> {
        self.answer(self.shown(self.agent.get(format!("{}{path}", self.base))).call())
    }

    /// Posts a JSON body to `path`.
    ///
    /// # Errors
    /// When nobody answers.
    pub(super) fn post(&self, path: &str, body: &impl serde::Serialize) -> Result<Answer<'_>, Failure> {
        self.answer(self.shown(self.agent.post(format!("{}{path}", self.base))).send_json(body))
    }

    /// A request that shows the token.
    fn shown<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        match &self.token {
            Some(token) => request.header("authorization", format!("Bearer {}", token.expose())),
            None => request,
        }
    }

    fn answer(&self, response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Answer<'_>, Failure> {
        let response = response.map_err(|error| {
            let message = format!("{} cannot be asked: {}", self.base, cause(&error));
            let help = if self.base.starts_with("https:") {
                "check the address, name the authority of the node with --ca-file, and a client certificate with \
                 --client-cert-file and --client-key-file where the node asks for one"
            } else if matches!(error, ureq::Error::Protocol(_)) {
                "check the address, and write https:// if the node has rest-tls-cert-path"
            } else {
                "check the address, and that a node runs there with rest = true"
            };
            Failure::Runtime(Problem::new(message, help))
        })?;
        Ok(Answer { node: self, response })
    }
}

impl NodeClient for RestNode {
    fn get(&self, path: &str) -> Result<Box<dyn Read>, CommandError> {
        Ok(Box::new(Self::get(self, path)?.success()?.into_reader()))
    }

    fn post(&self, path: &str, body: &serde_json::Value) -> Result<Box<dyn Read>, CommandError> {
        Ok(Box::new(Self::post(self, path, body)?.success()?.into_reader()))
    }
}

impl Answer<'_> {
    /// The HTTP status.
    pub(super) fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// This answer if it is 200.
    ///
    /// # Errors
    /// What the node says instead, in its own words.
    pub(super) fn success(mut self) -> Result<Self, Failure> {
        let status = self.status();
        if status == 200 {
            return Ok(self);
        }
        Err(self.refusal().unwrap_or_else(|| self.stranger(&format!("status {status}"))))
    }

    /// What the node says in words; `None` if it says nothing, or not in plain text.
    fn refusal(&mut self) -> Option<Failure> {
        let headers = self.response.headers();
        if !headers.get("content-type").is_some_and(|kind| kind.as_bytes().starts_with(b"text/plain")) {
            return None;
        }
        let words = self.response.body_mut().with_config().limit(MAX_ANSWER).read_to_string().unwrap_or_default();
        (!words.is_empty()).then(|| Failure::while_running(format_args!("{}: {}", self.node.base, one_line(&words))))
    }

    /// Its JSON body; `what` says what that should be.
    ///
    /// # Errors
    /// When it is something else; what the node says, if that is a refusal in words.
    pub(super) fn json<T: DeserializeOwned>(mut self, what: &str) -> Result<T, Failure> {
        if self.status() != 200
            && let Some(refusal) = self.refusal()
        {
            return Err(refusal);
        }
        let read = self.response.body_mut().with_config().limit(MAX_ANSWER).read_json();
        read.map_err(|_| self.stranger(&format!("status {} and no {what}", self.status())))
    }

    /// Its body as it comes.
    pub(super) fn into_reader(self) -> impl Read + use<> {
        self.response.into_body().into_reader()
    }

    fn stranger(&self, answered: &str) -> Failure {
        let message = format!("{} answered {answered}", self.node.base);
        Failure::Runtime(Problem::new(message, "check the address: it is not the REST address of a wakumix node"))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader, Write},
        net::TcpListener,
    };

    use super::*;

    /// A server of one answer to a GET that has these headers; its address.
    #[expect(clippy::disallowed_methods, reason = "a test waits for its answer")]
    fn server(answer: &'static str, has: &'static [&'static str]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let request = BufReader::new(&stream).lines().map(Result::unwrap);
            let head: Vec<_> = request.take_while(|line| !line.is_empty()).collect();
            assert!(!head.is_empty() && has.iter().all(|header| head.iter().any(|line| line == header)), "{head:?}");
            stream.write_all(answer.as_bytes()).unwrap();
        });
        address.to_string()
    }

    fn asked(answer: &'static str) -> Result<Vec<u8>, String> {
        let node = RestNode::at(&server(answer, &[]), Duration::from_secs(5), Access::default()).unwrap();
        let answer = node.get("/admin/v1/pool").and_then(Answer::success);
        answer.and_then(|answer| answer.json("pool")).map_err(|failure| failure.to_string())
    }

    #[test]
    fn a_refusal_is_told_in_the_words_of_the_node() {
        let refused = "HTTP/1.1 403 Forbidden\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 12\r\n\r\nadmin is off";
        assert!(asked(refused).unwrap_err().ends_with(": admin is off"));
    }

    #[test]
    fn another_server_is_told_from_a_node() {
        for answer in [
            "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>",
        ] {
            let said = asked(answer).unwrap_err();
            assert!(said.contains("it is not the REST address of a wakumix node"), "{said}");
        }
        assert_eq!(asked("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n[7]"), Ok(vec![7]));
    }

    #[test]
    fn an_address_that_is_not_one_is_an_error_of_the_input() {
        for (via, says) in [
            ("", "`` is not an address"),
            ("http://", "`http://` is not an address"),
            ("http://:8645", "`http://:8645` is not an address"),
            ("http://[::1", "`http://[::1` is not an address"),
            ("http://127.0.0.1:8645 ", "is not an address"),
            ("ftp://127.0.0.1", "`ftp` is not served by nodes"),
            ("http://127.0.0.1:99999", "`99999` is not a port from 1 to 65535"),
            ("127.0.0.1:0", "`0` is not a port from 1 to 65535"),
            ("[::1]:x", "is not"),
            ("127.0.0.1:", "`` is not a port from 1 to 65535"),
            ("http://127.0.0.1:8645?x=1", "has more than scheme, host, port and path"),
            ("http://127.0.0.1:8645/#top", "has more than scheme, host, port and path"),
        ] {
            let wrong = RestNode::at(via, Duration::from_secs(5), Access::default()).err().unwrap();
            assert_eq!(wrong.code(), 1, "{via}");
            let said = wrong.to_string();
            assert!(said.contains("--via: ") && said.contains(says) && said.contains("help: "), "{via}: {said}");
        }
        let wrong =
            RestNode::at("http://me:secret@127.0.0.1", Duration::from_secs(5), Access::default()).err().unwrap();
        assert!(wrong.to_string().contains("user or a password") && !wrong.to_string().contains("secret"), "{wrong}");
        for (via, base) in [
            ("127.0.0.1:8645", "http://127.0.0.1:8645"),
            ("localhost", "http://localhost"),
            ("https://[::1]:1/", "https://[::1]:1"),
            ("https://node.example.org/waku/", "https://node.example.org/waku"),
        ] {
            assert_eq!(base_of(via).as_deref(), Ok(base));
        }
    }

    fn token_file(folder: &std::path::Path, text: &str) -> PathBuf {
        let path = folder.join("token");
        std::fs::write(&path, text).unwrap();
        #[cfg(unix)]
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        path
    }

    #[test]
    fn the_token_of_the_file_is_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = token_file(folder.path(), "a-token-of-the-tests\n");
        let by_flag = AccessArgs { token_file: Some(path.clone()), ..AccessArgs::default() }
            .read_or(Some("/elsewhere".into()))
            .unwrap();
        let by_variable = AccessArgs::default().read_or(Some(path.into_os_string())).unwrap();
        for access in [by_flag, by_variable] {
            let address = server(
                "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n[7]",
                &["authorization: Bearer a-token-of-the-tests"],
            );
            let node = RestNode::at(&address, Duration::from_secs(5), access).unwrap();
            assert!(node.get("/admin/v1/pool").and_then(Answer::success).is_ok());
        }
        assert!(AccessArgs::default().read_or(Some(OsString::new())).unwrap().token.is_none());
    }

    #[test]
    fn a_file_without_a_token_is_an_error_of_the_input() {
        let named = AccessArgs { token_file: Some("/does/not/exist".into()), ..AccessArgs::default() };
        let missing = named.read_or(None).err().unwrap();
        assert_eq!(missing.code(), 1);
        assert!(missing.to_string().contains("token file /does/not/exist does not exist"), "{missing}");
        assert!(missing.to_string().contains("help: create it with"), "{missing}");
    }
}
