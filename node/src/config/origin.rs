//! Origins of web pages that may use REST: `https://app.example.org`, or in nwaku's form `localhost:*`.

use std::{fmt, str::FromStr};

use wakumix_role_api::config::ValueError;

/// Pages of these origins are meant. An origin is a scheme, a host and a port (RFC 6454 §6.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedOrigin {
    /// `None` for any.
    scheme: Option<String>,
    host: String,
    port: AllowedPort,
}

/// Which ports of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AllowedPort {
    /// The one of the scheme, which an origin does not name.
    OfScheme,
    /// This one.
    Is(u16),
    /// All of them.
    Any,
}

impl AllowedOrigin {
    pub(super) const FORM: &str = "an origin such as https://app.example.org or http://localhost:5173; without a scheme all are \
                                   meant, and * as the port means all ports";

    /// Whether this is what a browser says of one of these pages. `null`, which any page can have said of it, is none of them.
    #[must_use]
    pub fn admits(&self, origin: &str) -> bool {
        let Some((scheme, authority)) = origin.split_once("://") else { return false };
        let Some((host, port)) = split(authority) else { return false };
        let of_scheme = default_port(scheme);
        let port = match port {
            "" => of_scheme,
            port => match port.parse() {
                Ok(port) => Some(port),
                Err(_) => return false,
            },
        };
        let is_port = match self.port {
            AllowedPort::Any => true,
            AllowedPort::OfScheme => port == of_scheme,
            AllowedPort::Is(own) => port == Some(own),
        };
        let is_scheme = self.scheme.as_ref().is_none_or(|own| own.eq_ignore_ascii_case(scheme));
        is_scheme && is_port && self.host.eq_ignore_ascii_case(host)
    }
}

impl FromStr for AllowedOrigin {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let refused = || ValueError::new(format!("`{text}` is not {}", Self::FORM));
        let lower = text.to_ascii_lowercase();
        let (scheme, authority) =
            lower.split_once("://").map_or((None, lower.as_str()), |(scheme, rest)| (Some(scheme), rest));
        let is_scheme = |scheme: &str| {
            scheme.starts_with(|first: char| first.is_ascii_alphabetic())
                && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
        };
        let (host, port) = split(authority).ok_or_else(refused)?;
        let is_v6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).is_some_and(is_ip6);
        let is_name = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
        // A page of no origin of its own says `null`, and any page can make itself one.
        let is_none = host.is_empty() || host == "null";
        if is_none || !(is_v6 || is_name) || scheme.is_some_and(|scheme| !is_scheme(scheme)) {
            return Err(refused());
        }
        let port = match port {
            "" if authority.ends_with(':') => return Err(refused()),
            "" => AllowedPort::OfScheme,
            "*" => AllowedPort::Any,
            port => match port.parse().map_err(|_| refused())? {
                0 => return Err(refused()),
                port if scheme.and_then(default_port) == Some(port) => AllowedPort::OfScheme,
                port => AllowedPort::Is(port),
            },
        };
        Ok(Self { scheme: scheme.map(str::to_owned), host: host.to_owned(), port })
    }
}

impl fmt::Display for AllowedOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(scheme) = &self.scheme {
            write!(f, "{scheme}://")?;
        }
        f.write_str(&self.host)?;
        match self.port {
            AllowedPort::OfScheme => Ok(()),
            AllowedPort::Is(port) => write!(f, ":{port}"),
            AllowedPort::Any => f.write_str(":*"),
        }
    }
}

/// The host and the port, which is empty where none is named. An IPv6 address keeps its brackets.
fn split(authority: &str) -> Option<(&str, &str)> {
    let host_len = if authority.starts_with('[') { authority.find(']')? + 1 } else { 0 };
    let colon = authority.get(host_len..)?.find(':').map(|at| host_len + at);
    match colon {
        Some(at) => Some((authority.get(..at)?, authority.get(at + 1..)?)),
        None => Some((authority, "")),
    }
}

fn is_ip6(text: &str) -> bool {
    text.parse::<std::net::Ipv6Addr>().is_ok()
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        _ if scheme.eq_ignore_ascii_case("http") => Some(80),
        _ if scheme.eq_ignore_ascii_case("https") => Some(443),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> AllowedOrigin {
        text.parse().unwrap()
    }

    #[test]
    fn an_origin_admits_itself_and_no_other() {
        for (allowed, admitted, others) in [
            (
                "https://app.example.org",
                &["https://app.example.org", "https://App.Example.org:443"][..],
                &[
                    "http://app.example.org",
                    "https://app.example.org:8443",
                    "https://app.example.org.evil.example",
                    "https://evil.example",
                    "null",
                    "",
                    "app.example.org",
                    "https://app.example.org:443:443",
                ][..],
            ),
            ("http://localhost:5173", &["http://localhost:5173"], &["http://localhost", "https://localhost:5173"]),
            (
                "localhost:*",
                &["http://localhost", "https://localhost:1", "http://localhost:65535"],
                &["http://localhost:65536", "http://localhost:x", "http://localhost.evil.example:1", "null"],
            ),
            (
                "waku-org.github.io",
                &["https://waku-org.github.io", "http://waku-org.github.io"],
                &["https://waku-org.github.io:8443", "https://other.github.io"],
            ),
            ("http://[::1]:80", &["http://[::1]"], &["http://[::1]:81", "http://[::2]", "http://::1"]),
            ("moz-extension://0b-1c", &["moz-extension://0b-1c"], &["moz-extension://0b-1d", "http://0b-1c"]),
        ] {
            for text in admitted {
                assert!(origin(allowed).admits(text), "{allowed} and {text}");
            }
            for text in others {
                assert!(!origin(allowed).admits(text), "{allowed} and {text}");
            }
        }
    }

    #[test]
    fn what_is_no_origin_is_refused_and_what_is_one_is_written_in_one_way() {
        for text in [
            "*",
            "",
            "null",
            "https://",
            "https://*.example.org",
            "https://app.example.org/",
            "https://app.example.org/page",
            "https://user@app.example.org",
            "://app",
            "1http://app",
            "http://app:0",
            "http://app:",
            "http://app:70000",
            "http://app:1:1",
            "http://[::1",
            "http://[app]",
        ] {
            let read = text.parse::<AllowedOrigin>();
            assert!(read.is_err(), "{text}: {read:?}");
        }
        for (text, written) in [
            ("HTTPS://App.example.org:443", "https://app.example.org"),
            ("http://localhost:*", "http://localhost:*"),
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("http://[::1]:8080", "http://[::1]:8080"),
        ] {
            assert_eq!(origin(text).to_string(), written);
            assert_eq!(origin(written), origin(text));
        }
    }
}
