//! Finding out whether there is somebody a mail is for that was asked for.

use super::RequestedMail;
use crate::app::App;
use crate::base::background::Background;
use crate::base::request_context::{self, RequestContext};
use crate::platform::job::{self, Failure, Job, Kind};

/// Starts the background work.
pub(crate) fn start(app: &App, background: &mut Background) {
    background.start(keep_answering(app.clone()));
}

/// Answers as they come, for as long as it is polled.
async fn keep_answering(app: App) {
    job::keep_working(app, Kind::Request, async |app: &App, job: Job<RequestedMail>| {
        let context = RequestContext { ip: job.work.ip, request_id: None };
        request_context::within(context, super::answer(app, &job.work)).await.map_err(Failure::from)
    })
    .await;
}
