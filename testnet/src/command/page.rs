//! A web page that sends through the net: served on loopback, from files that are read once.

use std::{
    collections::BTreeMap,
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
};

use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer,
    dev::ServerHandle,
    http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE},
    web,
};
use serde::Serialize;

use super::plan::CONTENT_TOPIC;
use crate::{CLUSTER, TOPIC};

/// The file that a page begins with.
pub(super) const INDEX: &str = "index.html";
/// Where a page finds the net.
const NET: &str = "net.json";
/// The longest file that is served.
const MAX_FILE: u64 = 16 << 20;
/// What the page may do: its own scripts, WebAssembly, and the WebSockets of the nodes.
const POLICY: &str = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self' ws:; style-src 'self'; \
                      img-src 'self' data:; base-uri 'none'; form-action 'none'";

/// What the page learns about the net.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NetJson<'a> {
    cluster: u16,
    pubsub_topic: &'a str,
    content_topic: &'a str,
    /// Addresses of nodes that hand out descriptors of the others.
    bootstrap: &'a [String],
}

/// The page while it is served.
pub(super) struct Page {
    address: SocketAddr,
    handle: ServerHandle,
}

impl Page {
    /// Serves the files of a folder, and beside them what a page needs to know of the net.
    ///
    /// # Errors
    /// Of the file system, and of the listener.
    pub(super) fn serve(folder: &Path, bootstrap: &[String]) -> io::Result<Self> {
        let mut files = read(folder)?;
        let net = NetJson { cluster: CLUSTER, pubsub_topic: TOPIC, content_topic: CONTENT_TOPIC, bootstrap };
        files.insert(NET.to_owned(), serde_json::to_vec(&net)?);
        let files = web::Data::new(files);
        let server = HttpServer::new(move || App::new().app_data(files.clone()).default_service(web::get().to(file)))
            .workers(1)
            .disable_signals()
            .shutdown_timeout(1)
            .bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = server.addrs().first().copied().ok_or_else(|| io::Error::other("the page has no address"))?;
        let server = server.run();
        let handle = server.handle();
        spawn(server);
        Ok(Self { address, handle })
    }

    /// Where it is.
    pub(super) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Ends it.
    pub(super) async fn stop(self) {
        self.handle.stop(false).await;
    }
}

#[expect(clippy::disallowed_methods, reason = "what serves the page of a test net is no part of a node")]
fn spawn(server: actix_web::dev::Server) {
    // It ends when it is told to, and then there is nobody to hear of an error.
    tokio::task::spawn_local(async move { _ = server.await });
}

/// Whether a folder holds a page.
pub(super) fn is_page(folder: &Path) -> bool {
    folder.join(INDEX).is_file()
}

fn read(folder: &Path) -> io::Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (name, about) = (entry.file_name(), fs::metadata(entry.path())?);
        if let (Some(name), true) = (name.to_str(), about.is_file() && about.len() <= MAX_FILE) {
            files.insert(name.to_owned(), fs::read(entry.path())?);
        }
    }
    Ok(files)
}

async fn file(request: HttpRequest, files: web::Data<BTreeMap<String, Vec<u8>>>) -> HttpResponse {
    let name = match request.path().trim_start_matches('/') {
        "" => INDEX,
        name => name,
    };
    match files.get(name) {
        Some(bytes) => HttpResponse::Ok()
            .insert_header((CONTENT_TYPE, content_type(name)))
            .insert_header((CONTENT_SECURITY_POLICY, POLICY))
            .body(bytes.clone()),
        None => HttpResponse::NotFound().finish(),
    }
}

fn content_type(name: &str) -> &'static str {
    match Path::new(name).extension().and_then(|ending| ending.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json" | "map") => "application/json",
        Some("wasm") => "application/wasm",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.0\r\nhost: {address}\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn a_page_is_served_with_what_it_needs_to_know_and_nothing_beside_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!is_page(folder.path()));
        fs::write(folder.path().join(INDEX), "<p>page</p>").unwrap();
        fs::write(folder.path().join("engine.wasm"), [0]).unwrap();
        assert!(is_page(folder.path()));
        let bootstrap = ["/ip4/127.0.0.1/tcp/1/ws".to_owned()];
        actix::System::new().block_on(async {
            let page = Page::serve(folder.path(), &bootstrap).unwrap();
            let address = page.address;
            let paths = ["/", "/net.json", "/engine.wasm", "/../Cargo.toml"];
            let answers = web::block(move || paths.map(|path| get(address, path))).await.unwrap();
            let [index, net, wasm, beside] = &answers;
            assert!(index.contains("text/html") && index.ends_with("<p>page</p>"), "{index}");
            assert!(net.contains("/ip4/127.0.0.1/tcp/1/ws") && net.contains("\"pubsubTopic\""), "{net}");
            assert!(wasm.contains("application/wasm") && wasm.contains("wasm-unsafe-eval"), "{wasm}");
            assert!(beside.starts_with("HTTP/1.0 404"), "{beside}");
            page.stop().await;
        });
    }
}
