//! Certificates follow their files.

use std::{sync::Arc, time::Duration};

use wakumix_role_api::Workers;
use wakumix_tls::ServedCertificate;

use crate::clock;

/// How often the files are looked at: a certificate is renewed weeks before its end, and whoever changes a file by hand wants to
/// see it soon.
const POLL: Duration = Duration::from_secs(10);

/// Looks at the files of all certificates again and again, on a worker.
pub(super) async fn renew(certificates: Vec<Arc<ServedCertificate>>, workers: Workers) {
    loop {
        tokio::time::sleep(POLL).await;
        for served in &certificates {
            let served = Arc::clone(served);
            // A panic is counted where it happens.
            let _ = workers.run(move || served.look(clock::unix_seconds())).await;
        }
    }
}
