//! The checks of an answer of a provider: one list, in the order in which they run.
//!
//! Most checks are functions of what is known of the request. Five of them work: they spend the state, or ask the
//! provider. After the list, `person.rs` decides who the person is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use entity::UserId;
use serde_json::{Map, Value};
use tokio::time::timeout;

use crate::app::App;
use crate::base::clock::{self, SKEW, Timestamp};
use crate::base::config::Preset;
use crate::base::error::{Error, Result};
use crate::federation::upstream::claims::{self, Said};
use crate::federation::upstream::exchange::{self, Given};
use crate::federation::upstream::id_token::{self, IdToken, issuer_of};
use crate::federation::upstream::sealed::{Begun, Door, Purpose, digest_of_browser};
use crate::federation::upstream::{self, Checked, Endpoints, Refusal, Upstream, Why, endpoints_of};
use crate::platform::seen;
use crate::platform::unit_of_work::UnitOfWork;

/// The time for all requests to a provider in one sign-in.
const WITHIN: Duration = Duration::from_secs(8);

/// The maximum length of a code, in bytes.
const MAX_CODE: usize = 4096;

/// The parameters of an answer that are used.
const PARAMETERS: [&str; 4] = ["code", "state", "iss", "error"];

/// The work of a check.
#[derive(Clone, Copy)]
enum Step {
    /// A function of what is known.
    Rule(fn(&Draft) -> Checked),
    /// The state is spent, in the table.
    Spend,
    /// The discovery document of the provider is read, unless it is known.
    Discover,
    /// The code becomes tokens.
    Exchange,
    /// The ID token is read, its signature is verified, and its own list of checks runs (`id_token.rs`).
    IdToken,
    /// The provider is asked for what the ID token does not say.
    Userinfo,
}

/// A check with its name. A refusal has the same name before its dot.
struct Check {
    name: &'static str,
    step: Step,
}

/// The checks.
const CHECKS: [Check; 13] = [
    Check { name: "parameters", step: Step::Rule(parameters) },
    Check { name: "state", step: Step::Rule(state) },
    Check { name: "browser", step: Step::Rule(browser) },
    Check { name: "purpose", step: Step::Rule(purpose) },
    Check { name: "provider", step: Step::Rule(provider) },
    Check { name: "discovery", step: Step::Discover },
    Check { name: "iss", step: Step::Rule(iss) },
    Check { name: "error", step: Step::Rule(error) },
    Check { name: "state", step: Step::Spend },
    Check { name: "exchange", step: Step::Exchange },
    Check { name: "id_token", step: Step::IdToken },
    Check { name: "userinfo", step: Step::Userinfo },
    Check { name: "claims", step: Step::Rule(subject) },
];

/// An answer, as it came.
pub(crate) struct Received {
    /// The name of the provider in the path.
    pub(crate) name: String,
    /// The query.
    pub(crate) query: String,
    /// The id of the browser, if it has one.
    pub(crate) browser: Option<String>,
    /// The door that the answer came to.
    pub(crate) door: Door,
    /// `true` if only answers for linking come to this door, `false` if none does. Pages take all.
    pub(crate) links: Option<bool>,
    /// The user who is signed in.
    pub(crate) holder: Option<UserId>,
}

/// An answer that passed all checks.
pub(crate) struct Answer {
    /// The sign-in that began.
    pub(crate) begun: Begun,
    /// The provider.
    pub(crate) upstream: Arc<Upstream>,
    /// The claims of the provider.
    pub(crate) said: Said,
}

/// An answer that was refused.
pub(crate) struct Refused {
    /// The refusal.
    pub(crate) refusal: Refusal,
    /// The provider, if the path names one.
    pub(crate) upstream: Option<Arc<Upstream>>,
    /// The place that the person wanted to go to.
    pub(crate) next: String,
    /// `true` if this browser began the sign-in. Otherwise anybody can have sent the answer.
    pub(crate) is_begun_here: bool,
}

/// An answer, with everything that is known of it so far.
struct Draft {
    received: Received,
    parameters: BTreeMap<String, Vec<String>>,
    begun: Option<Begun>,
    is_spent: bool,
    upstream: Option<Arc<Upstream>>,
    endpoints: Option<Arc<Endpoints>>,
    given: Option<Given>,
    token: Option<IdToken>,
    claims: Map<String, Value>,
    is_begun_here: bool,
    now: Timestamp,
}

/// Runs the checks.
///
/// # Errors
///
/// If the database does not answer. A refusal is no error.
pub(crate) async fn run(app: &App, received: Received) -> Result<Result<Answer, Refused>> {
    let mut draft = Draft::load(app, received).await?;
    let ran = match timeout(WITHIN, checked(app, &mut draft)).await {
        Ok(ran) => ran?,
        Err(_) => {
            let remedy = "The provider is too slow. Ask its operator.";
            Err(Refusal::new("exchange.too_slow", Why::NoAnswer, remedy))
        }
    };
    let next = draft.begun.as_ref().map(|begun| begun.next.clone()).unwrap_or_default();
    let is_begun_here = draft.is_begun_here;
    let answer = ran.and_then(|()| draft.said());
    Ok(match (answer, draft.begun, draft.upstream) {
        (Ok(said), Some(begun), Some(upstream)) => Ok(Answer { begun, upstream, said }),
        (Ok(_), _, upstream) => {
            Err(Refused { refusal: unreadable(), upstream, next, is_begun_here })
        }
        (Err(refusal), _, upstream) => Err(Refused { refusal, upstream, next, is_begun_here }),
    })
}

async fn checked(app: &App, draft: &mut Draft) -> Result<Checked> {
    for Check { name, step } in CHECKS {
        let outcome = match step {
            Step::Rule(rule) => rule(draft),
            Step::Discover => discovered(app, draft).await,
            Step::Spend => spend(app, draft).await?,
            Step::Exchange => exchanged(app, draft).await,
            Step::IdToken => id_token(app, draft).await,
            Step::Userinfo => userinfo(app, draft).await,
        };
        if let Err(refusal) = outcome {
            return Ok(Err(refusal));
        }
        if name == "browser" {
            draft.is_begun_here = true;
        }
    }
    Ok(Ok(()))
}

impl Draft {
    async fn load(app: &App, received: Received) -> Result<Self> {
        let pairs: Vec<(String, String)> =
            serde_urlencoded::from_str(&received.query).unwrap_or_default();
        let mut parameters: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in pairs.into_iter().filter(|(name, _)| PARAMETERS.contains(&&**name)) {
            parameters.entry(name).or_default().push(value);
        }
        let sealed = parameters.get("state").and_then(|values| values.first());
        let begun = sealed.and_then(|sealed| Begun::open(app, sealed));
        let is_spent = match &begun {
            Some(begun) => {
                seen::is_spent(app.database.reader(), seen::Purpose::State, &begun.nonce).await?
            }
            None => false,
        };
        let upstream = upstream::find(app, &received.name);
        Ok(Self {
            received,
            parameters,
            begun,
            is_spent,
            upstream,
            endpoints: None,
            given: None,
            token: None,
            claims: Map::new(),
            is_begun_here: false,
            now: clock::now(),
        })
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        let first = self.parameters.get(name)?.first()?;
        Some(first.as_str()).filter(|value| !value.is_empty())
    }

    fn begun(&self) -> Checked<&Begun> {
        self.begun.as_ref().ok_or_else(unreadable)
    }

    fn upstream(&self) -> Checked<&Upstream> {
        self.upstream.as_deref().ok_or_else(unreadable)
    }

    fn given(&self) -> Checked<(&Endpoints, &Given)> {
        match (&self.endpoints, &self.given) {
            (Some(endpoints), Some(given)) => Ok((endpoints, given)),
            _ => Err(unreadable()),
        }
    }

    /// The subject that the provider names.
    fn subject(&self) -> Option<&str> {
        match &self.token {
            Some(token) => Some(token.subject()),
            None => self.claims.get("sub")?.as_str(),
        }
    }

    fn said(&self) -> Checked<Said> {
        let upstream = self.upstream()?;
        // Microsoft gives a person another `sub` in each application, and one `oid`.
        let subject = match upstream.settings.preset {
            Preset::Entra => self.claims.get("oid").and_then(Value::as_str),
            _ => self.subject(),
        };
        let subject = subject.filter(|subject| !subject.is_empty() && subject.len() <= 255);
        let subject = subject.ok_or_else(|| no_subject(upstream))?;
        let issuer = self.token.as_ref().map_or(&*upstream.settings.issuer, IdToken::issuer);
        Ok(Said::read(upstream, issuer, subject, &self.claims))
    }
}

fn unreadable() -> Refusal {
    let remedy = "The link was cut off or made by somebody else, or APP_SECRET changed since. The person begins again.";
    Refusal::new("state.unreadable", Why::Unreadable, remedy)
}

/// Each parameter comes once, with a state, and with either a code or an error.
fn parameters(draft: &Draft) -> Checked {
    let refuse = |came: &str| {
        let remedy = "No provider sends such an answer. The person begins again.";
        Err(Refusal::new("parameters.malformed", Why::Unreadable, remedy).came(came))
    };
    if let Some((name, _)) = draft.parameters.iter().find(|(_, values)| values.len() > 1) {
        return refuse(&format!("{name} twice"));
    }
    if draft.parameter("state").is_none() {
        return refuse("no state");
    }
    match (draft.parameter("code"), draft.parameter("error")) {
        (Some(code), None) if code.len() <= MAX_CODE => Ok(()),
        (None, Some(_)) => Ok(()),
        (Some(_), None) => refuse("a code that is too long"),
        (Some(_), Some(_)) => refuse("a code and an error"),
        (None, None) => refuse("neither a code nor an error"),
    }
}

/// The state is ours, is young enough, and was not spent.
fn state(draft: &Draft) -> Checked {
    let begun = draft.begun()?;
    let (began, now) = (begun.began(), draft.now);
    if began > now.plus_seconds(SKEW) || now > begun.until() {
        let remedy =
            "The person begins again. A page that stays open for an hour does not work any more.";
        return Err(Refusal::new("state.expired", Why::TookTooLong, remedy));
    }
    if draft.is_spent { Err(spent()) } else { Ok(()) }
}

fn spent() -> Refusal {
    let remedy = "The answer came a second time, for example because somebody went back to the page. If the person \
                  did not do that, somebody has the link.";
    Refusal::new("state.spent", Why::Finished, remedy)
}

/// The browser is the one that began.
fn browser(draft: &Draft) -> Checked {
    let begun = draft.begun()?;
    let own = draft.received.browser.as_deref().map(digest_of_browser);
    let remedy = "The sign-in began in another browser, or the browser keeps no cookies. If the person did not begin \
                  it, somebody tried to sign them in as somebody else.";
    match own.is_some_and(|own| own == begun.browser) {
        true => Ok(()),
        false => Err(Refusal::new("browser.other", Why::OtherBrowser, remedy)),
    }
}

/// The answer comes to the door that it was begun for, and to the user who began. A sign-in links nothing, and linking
/// signs nobody in.
fn purpose(draft: &Draft) -> Checked {
    let (begun, received) = (draft.begun()?, &draft.received);
    let is_link = matches!(begun.purpose, Purpose::Link { .. });
    let is_door =
        begun.door == received.door && received.links.is_none_or(|links| links == is_link);
    let is_user = match begun.purpose {
        Purpose::SignIn => true,
        Purpose::Again { user, .. } | Purpose::Link { user, .. } => {
            received.holder == Some(UserId(user))
        }
    };
    let remedy = "The answer belongs to something else: to signing in, to linking, or to another user. The person \
                  begins again.";
    match is_door && is_user {
        true => Ok(()),
        false => Err(Refusal::new("purpose.other", Why::Finished, remedy)),
    }
}

/// The answer comes to the path of the provider that it was begun with.
fn provider(draft: &Draft) -> Checked {
    let begun = draft.begun()?;
    let (expected, came) = (begun.upstream.as_str(), draft.received.name.as_str());
    let remedy = "Another provider sent the answer, or UPSTREAMS_FILE changed. If it did not, somebody mixes up \
                  providers to get a code.";
    match expected == came && draft.upstream.is_some() {
        true => Ok(()),
        false => {
            let refusal = Refusal::new("provider.other", Why::Finished, remedy);
            Err(refusal.expected(expected).came(came))
        }
    }
}

/// The answer names the issuer, if the provider promises that (RFC 9207). What it names is right in any case.
fn iss(draft: &Draft) -> Checked {
    let upstream = draft.upstream()?;
    let expected = &upstream.settings.issuer;
    let Some(came) = draft.parameter("iss") else {
        let promised = draft.endpoints.as_ref().is_some_and(|known| known.names_issuer);
        return match promised {
            true => Err(Refusal::untrusted("iss.missing", upstream).expected(expected)),
            false => Ok(()),
        };
    };
    // The issuer of Entra is a pattern, and the answer is of one of the tenants.
    let is_tenant = |tenant: &String| came == issuer_of(upstream, Some(tenant));
    if came == expected || upstream.settings.tenants.iter().any(is_tenant) {
        return Ok(());
    }
    let shown: String = came.chars().take(200).collect();
    Err(Refusal::untrusted("iss.other", upstream).expected(expected).came(shown))
}

/// The provider refuses nothing.
fn error(draft: &Draft) -> Checked {
    let Some(error) = draft.parameter("error") else { return Ok(()) };
    let upstream = draft.upstream()?;
    match error {
        "access_denied" => {
            let remedy = "The person declined, or is not assigned to the application there.";
            Err(Refusal::new("error.declined", Why::Declined, remedy))
        }
        "temporarily_unavailable" | "server_error" => {
            let remedy = "The provider has a fault. Ask its operator.";
            Err(Refusal::new("error.unavailable", Why::NoAnswer, remedy).came(error))
        }
        _ => {
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
            let shown = error.len() <= 64 && error.bytes().all(plain);
            let remedy = format!(
                "The provider refuses the request. Compare the entry with the application there: {}.",
                upstream.check_command()
            );
            let refusal = Refusal::new("error.refused", Why::Misconfigured, remedy);
            Err(if shown { refusal.came(error) } else { refusal })
        }
    }
}

/// Spends the state. Of several answers at once, one gets further.
async fn spend(app: &App, draft: &Draft) -> Result<Checked> {
    let Ok(begun) = draft.begun() else { return Ok(Err(unreadable())) };
    let work = UnitOfWork::begin(app).await?;
    let is_first = seen::spend(&work, seen::Purpose::State, &begun.nonce, begun.until()).await?;
    work.commit().await?;
    Ok(if is_first { Ok(()) } else { Err(spent()) })
}

async fn discovered(app: &App, draft: &mut Draft) -> Checked {
    draft.endpoints = Some(endpoints_of(app, draft.upstream()?).await?);
    Ok(())
}

async fn exchanged(app: &App, draft: &mut Draft) -> Checked {
    let endpoints = draft.endpoints.clone().ok_or_else(unreadable)?;
    let code = draft.parameter("code").ok_or_else(unreadable)?;
    let given = exchange::code(app, draft.upstream()?, &endpoints, draft.begun()?, code).await?;
    draft.given = Some(given);
    Ok(())
}

async fn id_token(app: &App, draft: &mut Draft) -> Checked {
    let upstream = draft.upstream()?;
    if upstream.settings.preset == Preset::Github {
        return no_proof_again(draft);
    }
    let (_, given) = draft.given()?;
    let Some(text) = &given.id_token else {
        let remedy = "The provider gave no ID token. The scopes of the entry must contain openid.";
        return Err(Refusal::new("id_token.missing", Why::Misconfigured, remedy));
    };
    let token = id_token::read(app, upstream, text).await?;
    let access_token = given.access_token.expose();
    token.check(&id_token::expected(upstream, draft.begun()?, access_token))?;
    draft.claims = token.all.clone();
    draft.token = Some(token);
    Ok(())
}

/// A provider without ID tokens does not say when somebody signed in.
fn no_proof_again(draft: &Draft) -> Checked {
    let remedy = "This provider does not say when somebody signed in, so it cannot prove again who they are. \
                  People need a password here for that.";
    match draft.begun()?.again {
        true => Err(Refusal::new("id_token.auth_time", Why::NotAgain, remedy)),
        false => Ok(()),
    }
}

async fn userinfo(app: &App, draft: &mut Draft) -> Checked {
    let upstream = draft.upstream()?;
    let lacks = |name: &&str| !draft.claims.contains_key(*name);
    if draft.token.is_some() && !claims::needed(upstream).iter().any(lacks) {
        return Ok(());
    }
    let (endpoints, given) = draft.given()?;
    let asked = exchange::userinfo(app, upstream, endpoints, given).await?;
    // The answer may be about somebody else (OpenID Connect Core, section 5.3.2).
    let is_same = match &draft.token {
        Some(token) => {
            asked.is_empty() || asked.get("sub").and_then(Value::as_str) == Some(token.subject())
        }
        None => true,
    };
    if !is_same {
        return Err(Refusal::untrusted("userinfo.sub", upstream));
    }
    draft.claims = claims::merge(std::mem::take(&mut draft.claims), asked);
    Ok(())
}

fn no_subject(upstream: &Upstream) -> Refusal {
    let remedy = "The provider does not say who the person is.";
    let named = if upstream.settings.preset == Preset::Entra { "oid" } else { "sub" };
    Refusal::new("claims.subject", Why::Misconfigured, remedy).expected(named)
}

/// The provider names somebody.
fn subject(draft: &Draft) -> Checked {
    draft.said().map(drop)
}

impl From<Refusal> for Error {
    /// The error for programs.
    fn from(refusal: Refusal) -> Self {
        Error::because(refusal.why.code(), refusal.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::CHECKS;

    #[test]
    fn what_is_free_of_cost_comes_before_what_asks_the_provider() {
        let names: Vec<_> = CHECKS.iter().map(|check| check.name).collect();
        let place = |name: &str| names.iter().position(|known| *known == name).unwrap();
        for name in ["parameters", "state", "browser", "purpose", "provider", "iss", "error"] {
            assert!(place(name) < place("exchange"), "{name}");
        }
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len() - 1);
    }
}
