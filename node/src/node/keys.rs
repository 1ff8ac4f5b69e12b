//! Mix keys follow each other.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use wakumix_keyring::Rotation;
use wakumix_role_api::Workers;

/// How often the clock is looked at.
const POLL: Duration = Duration::from_secs(1);

/// Does what is due, once a second and on a worker, for files are written. A turn that panics is tried again: it begins with
/// what is on disk.
pub(super) async fn rotate(rotation: Arc<Mutex<Rotation>>, workers: Workers) {
    loop {
        tokio::time::sleep(POLL).await;
        let rotation = Arc::clone(&rotation);
        // A panic is counted where it happens.
        let _ = workers.run(move || rotation.lock().turn()).await;
    }
}
