//! Reading the keys again: when they were changed, and when the next one begins to sign.

use std::time::Duration;

use tokio::time::timeout;

use super::load;
use crate::app::App;

const LOAD_EVERY: Duration = Duration::from_secs(10);

/// Reads the keys again for as long as it is polled.
pub(crate) async fn keep_loading(app: App) {
    loop {
        let _ = timeout(LOAD_EVERY, app.keys_changed.notified()).await;
        if let Err(error) = load(&app).await {
            tracing::warn!(error.cause = %error, "the signing keys could not be read");
        }
    }
}
