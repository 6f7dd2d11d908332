//! Background work that looks up the accounts of requested mails.

use super::RequestedMail;
use crate::app::App;
use crate::base::background::Background;
use crate::base::request_context::{self, RequestContext};
use crate::platform::job::{self, Failure, Job, Kind};

/// Starts the background work.
pub(crate) fn start(app: &App, background: &mut Background) {
    background.start(keep_answering(app.clone()));
}

/// Handles requests as they arrive, for as long as it is polled.
async fn keep_answering(app: App) {
    job::keep_working(app, Kind::Request, async |app: &App, job: Job<RequestedMail>| {
        let context = RequestContext { ip: job.work.ip, request_id: None };
        request_context::within(context, super::answer(app, &job.work)).await.map_err(Failure::from)
    })
    .await;
}
