//! The consequences of a restored backup.
//!
//! A backup does not know what happened after it. Sessions that ended since are alive in it, codes that were used can be
//! used again, and mails that were sent are waiting. So everything that was given out for a limited time ends here.

mod store;

use crate::app::App;
use crate::base::clock::{self, SKEW};
use crate::base::database::allow_long;
use crate::base::error::Result;
use crate::platform::audit::{Act, Actor, Entry};
use crate::platform::revocation::{self, Life, Reason};
use crate::platform::unit_of_work::UnitOfWork;

/// The parts that stay as they were at the backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// Sessions, grants of applications, and access tokens.
    pub sessions: bool,
    /// Mails that wait.
    pub mails: bool,
}

/// The numbers of rows that ended, and of those that an operator must look at.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The new epoch of the revocation feed.
    pub epoch: String,
    /// Sessions that ended.
    pub sessions: u64,
    /// Grants of applications that ended.
    pub grants: u64,
    /// Users whose access tokens are refused from now on.
    pub users: u64,
    /// Codes and links that cannot be used any more.
    pub codes: u64,
    /// Waiting mails that were deleted.
    pub mails: u64,
    /// API tokens that work.
    pub api_tokens: u64,
    /// Invitations that can be accepted.
    pub invitations: u64,
}

/// Ends what a restored backup would bring to life again, and begins a new epoch of the revocation feed. Services that
/// follow the feed keep what they know.
///
/// # Errors
///
/// If the database does not answer. Then nothing was changed.
pub async fn settle(app: &App, kept: Kept) -> Result<Report> {
    let mut work = UnitOfWork::begin(app).await?;
    allow_long(&work).await?;
    let now = clock::now();
    let mut report = Report {
        epoch: revocation::begin_epoch(&work, None).await?,
        codes: store::delete_codes(&*work).await?,
        ..Report::default()
    };
    // Servers of the time of the backup. Those that run report again.
    store::delete_replicas(&*work).await?;
    if !kept.mails {
        report.mails = store::delete_jobs(&*work).await?;
    }
    if !kept.sessions {
        let reason = Reason::Restored.as_str();
        report.sessions = store::end_sessions(&*work, reason, now).await?;
        report.grants = store::end_grants(&*work, reason, now).await?;
        // The clock of another server can be ahead of this one, so tokens of sessions that began after the backup can be
        // later than now.
        let cut_off = now.plus_seconds(SKEW);
        let until = Life::read(app, &*work).await?.of_cut_off(cut_off);
        report.users = store::cut_off_everybody(&*work, reason, cut_off, until).await?;
        work.appends();
    }
    report.api_tokens = store::count_api_tokens(&*work, now).await?;
    report.invitations = store::count_invitations(&*work, now).await?;
    let entry = Entry::new(Act::Restore, Actor::of(&"operator")).on("epoch", &report.epoch);
    let entry = entry.with("sessions", report.sessions).with("grants", report.grants);
    work.record(entry.with("mails", report.mails).with("codes", report.codes));
    work.commit().await?;
    Ok(report)
}
