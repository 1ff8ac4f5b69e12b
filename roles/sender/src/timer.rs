//! The client's only timer.

use tokio::{sync::watch, time::Instant};
use wakumix_client::Input;
use wakumix_role_api::{Address, sender::SenderMessage};

/// Wakes the client at the time that `wake` names. The time changes with everything that the client is told, so each is
/// reached at most once.
pub(crate) async fn keep_time(mut wake: watch::Receiver<Option<Instant>>, sender: Address<SenderMessage>) {
    loop {
        let due = *wake.borrow_and_update();
        let reached = async {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        let changed = tokio::select! {
            biased;
            changed = wake.changed() => changed,
            () = reached => {
                if sender.send(SenderMessage::Client(Box::new(Input::Tick))).await.is_err() {
                    return;
                }
                wake.changed().await
            }
        };
        if changed.is_err() {
            return;
        }
    }
}
