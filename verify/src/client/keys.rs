//! The public keys of an issuer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{ETAG, HeaderValue, IF_NONE_MATCH};
use reqwest::{Client, StatusCode};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::follow::spread;
use super::warnings::{Work, causes};
use super::{Shared, local_time};
use crate::feed::LocalTime;
use crate::{Key, KeySet};

/// The interval at which keys are read. An issuer publishes a key ten minutes before it signs.
const READ_EVERY: Duration = Duration::from_secs(300);

/// The shortest time between two reads that unknown keys cause. Anybody can send a token with an unknown key.
const WANTED_AT_MOST_EVERY: Duration = Duration::from_secs(10);

/// The time for which keys are used while the issuer is away.
const KEPT_FOR: Duration = Duration::from_secs(86_400);

/// The time limit for an answer, and its largest size.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const MAX_ANSWER: usize = 1024 * 1024;

/// The time before the next attempt if the issuer did not answer.
const TRY_AGAIN: Duration = Duration::from_secs(1);
const TRY_AGAIN_AT_MOST: Duration = Duration::from_secs(30);

/// The times when keys were read, and when somebody wanted them read again.
#[derive(Debug, Default)]
pub(super) struct Keys {
    read: Mutex<Option<LocalTime>>,
    wanted: Mutex<Option<LocalTime>>,
    signal: Notify,
    /// `true` if somebody wanted them since they were read.
    is_due: AtomicBool,
}

impl Keys {
    /// Returns true if keys were read, and not too long ago.
    pub(super) fn are_known(&self) -> bool {
        self.age(&local_time()).is_some_and(|age| age <= KEPT_FOR)
    }

    /// Returns the time since keys were read.
    pub(super) fn age(&self, local: &LocalTime) -> Option<Duration> {
        let read = *self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.map(|read| local.since(&read))
    }

    /// Reads the keys again, because a token names an unknown one. In all, this happens once in ten seconds.
    pub(super) fn want(&self, local: &LocalTime) {
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        if wanted.is_none_or(|wanted| local.since(&wanted) >= WANTED_AT_MOST_EVERY) {
            *wanted = Some(*local);
            self.want_at_once();
        }
    }

    /// Reads the keys again, because the issuer says that one was retired.
    pub(super) fn want_at_once(&self) {
        self.is_due.store(true, Ordering::SeqCst);
        self.signal.notify_one();
    }

    /// Returns true if they must be read: for the first time, because they are old, or because somebody wants them.
    pub(super) fn are_due(&self) -> bool {
        let is_old = self.age(&local_time()).is_none_or(|age| age >= READ_EVERY);
        is_old || self.is_due.load(Ordering::SeqCst)
    }

    fn were_read(&self, at: LocalTime) {
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
    }
}

/// Reads the keys of the issuer until the client is dropped. A failed read empties nothing.
pub(super) async fn keep_reading(shared: Arc<Shared>) {
    let Some(keys) = &shared.keys else { return };
    let (mut reading, mut wait) = (Reading::default(), TRY_AGAIN);
    loop {
        let pause = if reading.read(&shared).await {
            wait = TRY_AGAIN;
            READ_EVERY
        } else {
            wait = (wait * 2).min(TRY_AGAIN_AT_MOST);
            // At another time than other services whose reads failed together.
            wait / 2 + spread(wait / 2)
        };
        tokio::select! {
            () = sleep(pause) => {}
            () = keys.signal.notified() => {}
        }
    }
}

/// The requests for the keys.
pub(super) struct Reading {
    client: Client,
    tag: Option<HeaderValue>,
}

impl Default for Reading {
    fn default() -> Self {
        Self { client: super::follow::client(), tag: None }
    }
}

impl Reading {
    /// Reads the keys. A failed read empties nothing, until the keys are a day old. Returns false if it failed.
    pub(super) async fn read(&mut self, shared: &Shared) -> bool {
        let Some(keys) = &shared.keys else { return true };
        let sent = local_time();
        // Somebody who wants them from now on may need a later answer.
        let was_due = keys.is_due.swap(false, Ordering::SeqCst);
        let answer = timeout(ANSWER_WITHIN, read(&self.client, shared, self.tag.as_ref())).await;
        let answer = answer.unwrap_or_else(|_| Err("Tessera did not answer in time".to_owned()));
        let is_read = match answer {
            Ok(new) => {
                keys.were_read(sent);
                self.tag = new.or(self.tag.take());
                shared.warnings.worked(Work::Keys);
                true
            }
            Err(reason) => {
                shared.warnings.failed(Work::Keys, &reason);
                keys.is_due.fetch_or(was_due, Ordering::SeqCst);
                if !keys.are_known() {
                    shared.verifier.replace_keys(KeySet::default());
                }
                false
            }
        };
        shared.has_learned();
        is_read
    }
}

/// Reads the keys. Returns the tag of new keys, or the reason why they cannot be used.
async fn read(
    client: &Client,
    shared: &Shared,
    tag: Option<&HeaderValue>,
) -> Result<Option<HeaderValue>, String> {
    let mut request = client.get(format!("{}/.well-known/jwks.json", shared.issuer));
    if let Some(tag) = tag {
        request = request.header(IF_NONE_MATCH, tag);
    }
    let mut answer = request.send().await.map_err(causes)?;
    match answer.status() {
        StatusCode::NOT_MODIFIED => return Ok(None),
        StatusCode::OK => {}
        status => return Err(format!("TESSERA_ISSUER answered {}", status.as_u16())),
    }
    let tag = answer.headers().get(ETAG).cloned();
    let mut body = Vec::new();
    while let Some(part) = answer.chunk().await.map_err(causes)? {
        body.extend_from_slice(&part);
        if body.len() > MAX_ANSWER {
            return Err("the list of keys is too long".to_owned());
        }
    }
    let found = std::str::from_utf8(&body).ok().and_then(|text| Key::from_jwks(text).ok());
    // A list without keys would refuse every token, so it counts as a failure.
    let Some(found) = found.filter(|found| !found.is_empty()) else {
        return Err("the answer has no keys that can be used".to_owned());
    };
    shared.verifier.replace_keys(KeySet::verifying(found));
    Ok(tag)
}
