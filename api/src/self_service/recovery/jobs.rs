//! Finding out whether there is somebody a mail is for that was asked for.

use super::Asked;
use crate::app::App;
use crate::platform::audit::{self, Origin};
use crate::platform::job::{self, Failure, Job, Kind};

/// Answers as they come, for as long as it is polled.
pub(crate) async fn keep_answering(app: App) {
    job::keep_working(app, Kind::Request, async |app: &App, job: Job<Asked>| {
        let origin = Origin { ip: job.work.from.clone(), request: None };
        audit::within(origin, super::answer(app, &job.work)).await.map_err(Failure::from)
    })
    .await;
}
