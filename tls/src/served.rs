//! The certificate that a listener serves, and how a changed file takes its place.

use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use wakumix_telemetry::{Counter, Gauge, Telemetry};

use crate::{Certificate, CertificateError, Files, Validity, files::day, metrics::Metric};

/// Where a certificate is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    /// The WebSocket listener of libp2p.
    WebSocket,
    /// REST and metrics.
    Http,
}

impl Surface {
    /// The label of metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::Http => "http",
        }
    }

    /// The key that names the file of the certificate.
    fn key(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket-secure-cert-path",
            Self::Http => "rest-tls-cert-path",
        }
    }
}

/// A certificate that is served, and the files that it comes from. Cheap to share.
pub struct ServedCertificate {
    surface: Surface,
    files: Files,
    current: RwLock<Arc<Certificate>>,
    watched: Mutex<Watched>,
    ends: Gauge,
    taken: Counter,
    refused: Counter,
}

/// What the files held at the last looks.
struct Watched {
    /// The content that is served.
    served: [u8; 32],
    /// What was found instead at the last look, if it is not that.
    found: Option<Found>,
}

/// Content that cannot be served.
#[derive(PartialEq, Eq)]
struct Found {
    what: Content,
    is_reported: bool,
}

#[derive(PartialEq, Eq)]
enum Content {
    /// Both files could be read.
    Read([u8; 32]),
    /// One could not; the words of the error.
    Unread(String),
}

/// What a look at the files has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// What is served is in the files, or what is not has been reported.
    Same,
    /// They hold another certificate, which the next handshake gets.
    Taken,
    /// They hold something that cannot be served. It may be half written, so the next look decides.
    Doubtful,
    /// They still do; this has been reported just now, and the certificate before it is served.
    Refused,
}

impl ServedCertificate {
    /// Loads the files. A certificate that has ended is served all the same, and reported by [`Self::problem`]: the node has
    /// other work.
    ///
    /// # Errors
    /// What is wrong with which file.
    pub fn load(surface: Surface, files: Files, telemetry: &Telemetry) -> Result<Arc<Self>, CertificateError> {
        let raw = files.read()?;
        let certificate = files.judge(&raw)?;
        let label = ("surface", surface.label());
        let reloads = |outcome| telemetry.counter(Metric::CertificateReloadsTotal, &[label, ("outcome", outcome)]);
        let served = Self {
            surface,
            watched: Mutex::new(Watched { served: raw.fingerprint(), found: None }),
            files,
            ends: telemetry.gauge(Metric::CertificateEndTimestampSeconds, &[label]),
            taken: reloads("taken"),
            refused: reloads("refused"),
            current: RwLock::new(Arc::new(certificate)),
        };
        served.show_end();
        served.taken.increment(0);
        served.refused.increment(0);
        Ok(Arc::new(served))
    }

    /// Looks at the files, and serves what they hold if that is another good certificate. Reads files, so it is for a worker.
    pub fn look(&self, now: u64) -> Look {
        let mut watched = self.watched.lock();
        let read = self.files.read();
        let content = match &read {
            Ok(raw) => Content::Read(raw.fingerprint()),
            Err(error) => Content::Unread(error.to_string()),
        };
        if content == Content::Read(watched.served) {
            watched.found = None;
            return Look::Same;
        }
        let judged = read.and_then(|raw| {
            let certificate = self.files.judge(&raw)?;
            self.files.in_time(&certificate, now)?;
            Ok((certificate, raw.fingerprint()))
        });
        match judged {
            Ok((certificate, fingerprint)) => {
                *watched = Watched { served: fingerprint, found: None };
                *self.current.write() = Arc::new(certificate);
                self.show_end();
                self.taken.increment(1);
                tracing::info!(surface = self.surface.label(), ends = %self.ends_on(), "serving a new certificate");
                Look::Taken
            }
            Err(error) => {
                let known = watched.found.take().filter(|found| found.what == content);
                let look = match known {
                    None => Look::Doubtful,
                    Some(Found { is_reported: true, .. }) => Look::Same,
                    Some(Found { is_reported: false, .. }) => Look::Refused,
                };
                if look == Look::Refused {
                    self.refused.increment(1);
                    tracing::warn!(
                        surface = self.surface.label(), %error, help = error.help(), ends = %self.ends_on(),
                        "the changed certificate cannot be served; the one before it still is"
                    );
                }
                watched.found = Some(Found { what: content, is_reported: look != Look::Doubtful });
                look
            }
        }
    }

    /// What keeps clients from taking what is served, if anything does.
    #[must_use]
    pub fn problem(&self, now: u64) -> Option<String> {
        let key = self.surface.key();
        let current = self.current.read();
        match current.validity(now) {
            Validity::Valid => None,
            Validity::Ended => Some(format!("tls: the certificate of {key} ended on {}", day(current.ends()))),
            Validity::NotYet => Some(format!("tls: the certificate of {key} has not begun: check the clock")),
        }
    }

    /// When the certificate that is served ends, in seconds of Unix time.
    #[must_use]
    pub fn ends(&self) -> i64 {
        self.current.read().ends()
    }

    fn ends_on(&self) -> String {
        day(self.ends())
    }

    fn show_end(&self) {
        // Whole seconds of this era are exact in a double.
        #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 have 34 bits")]
        self.ends.set(self.ends() as f64);
    }
}

impl ResolvesServerCert for ServedCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().key))
    }
}

impl std::fmt::Debug for ServedCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Served({}, until {})", self.surface.label(), self.ends_on())
    }
}
