//! TXT records: from the system's name servers or given ones, and in tests from memory.

use std::{net::SocketAddr, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig},
    net::{NetError, runtime::TokioRuntimeProvider},
    proto::rr::RData,
};

/// One question, to one server.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Records of one name that are looked at; a domain has some for other purposes beside a list's root.
const MAX_RECORDS: usize = 32;

/// Answers questions for TXT records.
pub(super) trait Txt: Send + Sync + 'static {
    /// The texts of a name, none if there are none, or why that is not known.
    fn texts(&self, name: String) -> BoxFuture<'_, Result<Vec<String>, String>>;
}

/// Asks name servers.
pub(super) struct NameServers {
    /// Or why there is none.
    resolver: Result<TokioResolver, String>,
}

impl NameServers {
    /// Asks these servers, the system's if there are none. Nothing is kept between two questions: a list is asked for when
    /// it is to be read anew.
    pub(super) fn new(servers: Vec<SocketAddr>) -> Self {
        Self { resolver: resolver(servers).map_err(|error| error.to_string()) }
    }
}

impl Txt for NameServers {
    fn texts(&self, name: String) -> BoxFuture<'_, Result<Vec<String>, String>> {
        async move {
            let resolver = self.resolver.as_ref().map_err(Clone::clone)?;
            let answer = match resolver.txt_lookup(format!("{name}.")).await {
                Ok(answer) => answer,
                Err(error) if error.is_no_records_found() => return Ok(Vec::new()),
                Err(error) => return Err(error.to_string()),
            };
            let text = |data: &RData| match data {
                // A long text is cut into strings of 255 bytes.
                RData::TXT(txt) => String::from_utf8(txt.txt_data.concat()).ok(),
                _ => None,
            };
            Ok(answer.answers().iter().filter_map(|record| text(&record.data)).take(MAX_RECORDS).collect())
        }
        .boxed()
    }
}

fn resolver(servers: Vec<SocketAddr>) -> Result<TokioResolver, NetError> {
    let mut builder = if servers.is_empty() {
        TokioResolver::builder(TokioRuntimeProvider::default())?
    } else {
        let servers = servers.into_iter().map(name_server).collect();
        let config = ResolverConfig::from_parts(None, Vec::new(), servers);
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
    };
    let options = builder.options_mut();
    options.timeout = TIMEOUT;
    options.cache_size = 0;
    options.edns0 = true;
    options.use_hosts_file = ResolveHosts::Never;
    builder.build()
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let at_port = |mut connection: ConnectionConfig| {
        connection.port = address.port();
        connection
    };
    NameServerConfig::new(address.ip(), true, vec![at_port(ConnectionConfig::udp()), at_port(ConnectionConfig::tcp())])
}
