//! The overview: numbers, and the actions on each of the last days.

pub(crate) mod jobs;
mod store;

use entity::sample::Model;

use crate::access::{api_token, session};
use crate::app::App;
use crate::base::clock::{self, MILLIS_OF_A_DAY, Timestamp};
use crate::base::error::Result;
use crate::identity::user;
use crate::platform::audit::{self, Act};
use crate::platform::mail;
use crate::platform::unit_of_work::UnitOfWork;

/// The actions that the charts show: new users, sign-ins and refusals.
const REGISTERED: [Act; 2] = [Act::Register, Act::UserImport];
const SIGNED_IN: [Act; 1] = [Act::Login];
const REFUSED: [Act; 3] = [Act::LoginRefused, Act::RegisterRefused, Act::CodeRefused];

const MILLIS_OF_AN_HOUR: i64 = 3_600_000;

/// Current numbers, and numbers for each of the last days.
#[derive(Debug, Clone)]
pub struct Overview {
    /// The number of users.
    pub users: u64,
    /// The number of live sessions.
    pub sessions: u64,
    /// The number of API tokens.
    pub api_tokens: u64,
    /// The number of waiting mails.
    pub mails: u64,
    /// The last days. Today is the last one.
    pub days: Vec<Day>,
}

/// The numbers for one day.
#[derive(Debug, Clone, Default)]
pub struct Day {
    /// The beginning of the day, in seconds since the epoch.
    pub began: u64,
    /// The number of users who were created.
    pub registered: i64,
    /// The number of sign-ins.
    pub signed_in: i64,
    /// The number of sign-ins, registrations and codes that were refused.
    pub refused: i64,
    /// The highest number of sessions in the hourly counts.
    pub sessions: i64,
    /// The highest number of API tokens in the hourly counts.
    pub api_tokens: i64,
}

/// Returns the current numbers, and those of the last days.
///
/// # Errors
///
/// If the database does not answer.
pub async fn overview(app: &App, days: u16) -> Result<Overview> {
    let (users, mails) = (user::count(&app.database).await?, mail::count(app).await?);
    let (sessions, api_tokens) = (session::count(app).await?, api_token::count(app).await?);
    let today = clock::now().millis().div_euclid(MILLIS_OF_A_DAY);
    let first = today - i64::from(days) + 1;
    let mut known: Vec<Day> = (first..=today)
        .map(|day| Day {
            began: Timestamp::from_millis(day * MILLIS_OF_A_DAY).seconds(),
            ..Day::default()
        })
        .collect();
    let mut at = |day: i64, change: &dyn Fn(&mut Day)| {
        let place = usize::try_from(day - first).ok();
        if let Some(day) = place.and_then(|place| known.get_mut(place)) {
            change(day);
        }
    };
    let acts = [&REGISTERED[..], &SIGNED_IN, &REFUSED].concat();
    let is_of = |acts: &[Act], name: &str| acts.iter().any(|act| act.name() == name);
    for (act, day, often) in audit::per_day(app, &acts, first * MILLIS_OF_A_DAY).await? {
        at(day, &|day| match act.as_str() {
            act if is_of(&REGISTERED, act) => day.registered += often,
            act if is_of(&SIGNED_IN, act) => day.signed_in += often,
            _ => day.refused += often,
        });
    }
    let mut samples = store::since(app.database.reader(), first * MILLIS_OF_A_DAY).await?;
    samples.push(sample(clock::now(), sessions, api_tokens));
    for sample in samples {
        at(sample.hour.div_euclid(MILLIS_OF_A_DAY), &|day| {
            day.sessions = day.sessions.max(sample.sessions);
            day.api_tokens = day.api_tokens.max(sample.api_tokens);
        });
    }
    Ok(Overview { users, sessions, api_tokens, mails, days: known })
}

fn sample(now: Timestamp, sessions: u64, api_tokens: u64) -> Model {
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let hour = now.millis().div_euclid(MILLIS_OF_AN_HOUR) * MILLIS_OF_AN_HOUR;
    Model { hour, sessions: count(sessions), api_tokens: count(api_tokens) }
}

/// Counts sessions and API tokens, unless that was done in the current hour.
async fn count(app: &App) -> Result<()> {
    let now = clock::now();
    let hour = sample(now, 0, 0).hour;
    if store::is_there(app.database.reader(), hour).await? {
        return Ok(());
    }
    let row = sample(now, session::count(app).await?, api_token::count(app).await?);
    let work = UnitOfWork::begin(app).await?;
    store::put(&*work, row).await?;
    work.commit().await
}
