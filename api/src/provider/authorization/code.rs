//! Authorization codes: made for a request, and spent once for a grant.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use entity::authorization_code::Model;
use entity::session::Secret;
use entity::{GrantId, oauth_grant};

use super::draft::{Draft, Proof};
use super::{checks, consent, store};
use crate::access::grant::{self, SECRET_LENGTH};
use crate::access::session::{self, Standing};
use crate::app::App;
use crate::base::clock::{self, Timestamp};
use crate::base::error::{Code, Result};
use crate::base::hex::hex;
use crate::base::random;
use crate::base::scope::Scopes;
use crate::identity::user::{self, User};
use crate::platform::audit::{Act, Actor, Entry};
use crate::platform::rate_limit;
use crate::platform::revocation::{self, MAX_CLIENT_LIFE, Reason};
use crate::platform::unit_of_work::UnitOfWork;
use crate::provider::client::{self, Checked, Client, OauthError, Refusal};

/// The length of a code in letters and digits: 256 bits.
const LENGTH: usize = 43;

/// The lifetime of a code, in seconds.
const EXPIRES: u64 = 60;

/// The time for which the row of a code is kept after the code expired, in seconds. Until then, a late exchange is told that
/// it is late.
const KEPT_FOR: u64 = 3600;

/// The scope with which a grant outlives the session of its browser.
pub(super) const OFFLINE: &str = "offline_access";

/// Makes a code for a request that passed its checks, and remembers the consent if the user has just given it. `None`
/// if the session has ended in the meantime.
///
/// # Errors
///
/// [`Code::TooManyAttempts`]; if the database does not answer.
pub(super) async fn issue(app: &App, draft: &Draft) -> Result<Option<String>> {
    let (Some(client), Some(proof)) = (&draft.client, &draft.proof) else { return Ok(None) };
    let Proof { session, user, .. } = proof;
    rate_limit::code(app, user.id)?;
    let mut work = UnitOfWork::begin(app).await?;
    let locked = user::lock(&*work, user.id).await?;
    if !locked.is_some_and(|locked| locked.user.may_act(&app.config)) {
        return Ok(None);
    }
    let Some(standing) = session::standing(app, &work, *session, user.id).await? else {
        return Ok(None);
    };
    // Proved again in the meantime, or not: the request was checked with the older time.
    let code = random::letters_and_digits(LENGTH);
    let now = clock::now();
    if draft.decided {
        consent::remember(&mut work, draft, now).await?;
    }
    let row = Model {
        digest: digest_of(&code),
        user_id: user.id,
        client_id: client.id,
        session_id: Some(*session),
        redirect_uri: draft.asked.redirect_uri.clone().unwrap_or_default(),
        code_challenge: draft.asked.code_challenge.clone(),
        nonce: draft.asked.nonce.clone(),
        scopes: draft.scopes.to_string(),
        resources: serde_json::to_string(&draft.asked.resource)
            .map_err(|_| Code::InternalServerError)?,
        claims: draft.asked.claims.clone(),
        auth_time: standing.auth_time.millis(),
        amr: standing.amr,
        jkt: None,
        created_at: now.millis(),
        expires_at: now.plus_seconds(EXPIRES).millis(),
        kept_until: now.plus_seconds(EXPIRES + KEPT_FOR).millis(),
        spent_at: None,
        grant_id: None,
    };
    store::insert(&*work, row).await?;
    work.commit().await?;
    Ok(Some(code))
}

/// A code, and the rest that a client presents with it.
pub struct Presented<'a> {
    /// The code.
    pub code: &'a str,
    /// The redirect URI, if it was sent.
    pub redirect_uri: Option<&'a str>,
    /// The verifier of PKCE, if it was sent.
    pub verifier: Option<&'a str>,
    /// The resources to which the access token is narrowed, if there are any.
    pub resources: &'a [String],
}

/// The result of spending a code.
pub struct Opened {
    /// The grant.
    pub grant: oauth_grant::Model,
    /// The user.
    pub user: User,
    /// The `nonce` of the request.
    pub nonce: Option<String>,
    /// The scopes of the access token: those of the grant that the client can still get.
    pub scopes: Scopes,
    /// The resources of the access token, likewise.
    pub resources: Vec<String>,
}

/// Spends a code: one caller gets a grant for it. The bindings are compared first, and what the client can still get is
/// looked up. A mismatch, or a client that can get nothing, spends nothing.
///
/// # Errors
///
/// If the database does not answer. The inner error is the refusal.
pub async fn spend(
    app: &App,
    client: &Client,
    presented: &Presented<'_>,
) -> Result<Checked<Opened>> {
    let digest = digest_of(presented.code);
    let Some(known) = store::find(app.database.reader(), &digest).await? else {
        return Ok(Err(unknown()));
    };
    if let Err(refusal) = check_bindings(&known, client, presented) {
        return Ok(Err(refusal));
    }
    let resources = match presented.resources {
        [] => resources_of(&known),
        narrowed => narrowed.to_vec(),
    };
    let scopes = Scopes::parse(&known.scopes);
    let allowed = client::still_allowed(app, client, scopes, resources).await?;
    let mut work = UnitOfWork::begin(app).await?;
    let (row, user, standing) = match lock(app, &work, &known).await? {
        Ok(locked) => locked,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let now = clock::now();
    if let Some(spent) = row.spent_at {
        return punish(app, work, &row, Timestamp::from_millis(spent), now).await;
    }
    let (user, standing) = match checked(client, &row, user, standing, now) {
        Ok(checked) => checked,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let (scopes, resources) = match allowed {
        Ok(allowed) => allowed,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let issued = revocation::next_issue(app, &work, user.id, now).await?;
    let grant = new_grant(app, &row, client, &standing, now, issued);
    let grant = grant::client::open(&work, with_identities(&work, grant).await?).await?;
    // As long as an access token of the grant can be valid, a second use is noticed.
    let kept_until = now.plus_seconds(MAX_CLIENT_LIFE);
    if !store::spend(&*work, &digest, grant.id, now, kept_until).await? {
        // Another request spent it. Nothing of this one remains.
        work.rollback().await?;
        return Ok(Err(spent()));
    }
    record(&mut work, client, &grant, now).await?;
    work.commit().await?;
    Ok(Ok(Opened { grant, user, nonce: row.nonce, scopes, resources }))
}

/// Records a new grant, and ends those of the user and the client that are too many beside it, with their codes.
async fn record(
    work: &mut UnitOfWork<'_>,
    client: &Client,
    new: &oauth_grant::Model,
    now: Timestamp,
) -> Result<()> {
    let surplus = grant::client::end_surplus(work, new, now).await?;
    let entry = Entry::own(Act::GrantOpen, new.user_id).on("client", &client.client_id);
    let entry = entry.with("grant", new.id.to_string()).with("scopes", new.scopes.clone());
    work.record(match surplus.len() {
        0 => entry,
        ended => entry.with("ended", ended),
    });
    Ok(store::delete_codes_of(&**work, surplus).await?)
}

/// Locks what a code belongs to, in the order in which acts on accounts lock: the user, the session, the code.
async fn lock(
    app: &App,
    work: &UnitOfWork<'_>,
    known: &Model,
) -> Result<Checked<(Model, Option<User>, Option<Standing>)>> {
    let user = user::lock(&**work, known.user_id).await?;
    let standing = match known.session_id {
        Some(session) => session::standing(app, work, session, known.user_id).await?,
        None => None,
    };
    let Some(row) = store::lock(&**work, &known.digest).await? else { return Ok(Err(unknown())) };
    let user = user.map(|user| user.user).filter(|user| user.may_act(&app.config));
    Ok(Ok((row, user, standing)))
}

/// Fails if a code has expired, or if its user may not sign in any more.
fn checked(
    client: &Client,
    row: &Model,
    user: Option<User>,
    standing: Option<Standing>,
    now: Timestamp,
) -> Checked<(User, Standing)> {
    if now.millis() >= row.expires_at {
        let sentence = "The code has expired.";
        let remedy = "The application must exchange a code within a minute.";
        return Err(invalid("code.expired", sentence, remedy));
    }
    let (Some(user), Some(standing)) = (user, standing) else {
        let sentence = "The session in which the code was made has ended.";
        return Err(invalid("code.session_ended", sentence, "The user must sign in again."));
    };
    match checks::refusal_for(client, &user) {
        Some(refusal) => Err(Refusal { error: OauthError::InvalidGrant, ..refusal }),
        None => Ok((user, standing)),
    }
}

fn resources_of(row: &Model) -> Vec<String> {
    serde_json::from_str(&row.resources).unwrap_or_default()
}

/// Refuses a code that was spent before. Within the leeway nothing else happens, because browsers send a request twice
/// when a page is loaded again. Later, somebody has a copy of the code, so its grant ends.
async fn punish(
    app: &App,
    mut work: UnitOfWork<'_>,
    row: &Model,
    spent_at: Timestamp,
    now: Timestamp,
) -> Result<Checked<Opened>> {
    let leeway = app.config.refresh_reuse_leeway;
    if now > spent_at.plus_seconds(leeway)
        && let Some(grant) = row.grant_id
        && grant::client::end(&mut work, grant, &Reason::Reuse, now).await?
    {
        let entry = Entry::new(Act::CodeReuse, Actor::anybody()).on_user(row.user_id);
        work.record(entry.with("grant", grant.to_string()));
        work.commit().await?;
        tracing::warn!(grant.id = %grant, "a code was used again after its exchange, so its grant was ended");
    }
    Ok(Err(spent()))
}

fn new_grant(
    app: &App,
    row: &Model,
    client: &Client,
    standing: &Standing,
    now: Timestamp,
    issued: Timestamp,
) -> oauth_grant::Model {
    let is_offline = Scopes::parse(&row.scopes).contains(OFFLINE);
    // A grant that outlives its session is worth no more than the proof of a provider.
    let until = if is_offline { standing.proof_ends } else { Some(standing.until) };
    oauth_grant::Model {
        id: GrantId(random::id()),
        user_id: row.user_id,
        client_id: row.client_id,
        session_id: row.session_id,
        scopes: row.scopes.clone(),
        resources: row.resources.clone(),
        claims: row.claims.clone(),
        auth_time: row.auth_time,
        amr: row.amr.clone(),
        sid: standing.name_for(&client.client_id),
        jkt: row.jkt.clone(),
        is_offline,
        created_at: now.millis(),
        last_used_at: now.millis(),
        generation: 0,
        rotated_at: now.millis(),
        issued_at: issued.millis(),
        secret: Secret(random::bytes::<SECRET_LENGTH>().to_vec()),
        expires_at: expiry(app, now, now, until).millis(),
        ended_at: None,
        ended_why: None,
        ends_at: until.filter(|_| is_offline).map(Timestamp::millis),
        proven_by: None,
    }
}

/// Adds the identities that proved the session of a grant, if it outlives that session.
async fn with_identities(
    work: &UnitOfWork<'_>,
    grant: oauth_grant::Model,
) -> Result<oauth_grant::Model> {
    let Some(session) = grant.session_id.filter(|_| grant.is_offline) else { return Ok(grant) };
    let identities = session::proven_by(work, session).await?;
    let names: Vec<_> = identities.iter().map(ToString::to_string).collect();
    let proven_by = Some(names.join(" ")).filter(|names| !names.is_empty());
    Ok(oauth_grant::Model { proven_by, ..grant })
}

/// The time when a grant that began at a time expires if it is used now: the earliest of its limits. `until` is the
/// absolute end of the session that it ends with, or the end of the proof that it was given for.
pub fn expiry(app: &App, began: Timestamp, now: Timestamp, until: Option<Timestamp>) -> Timestamp {
    let idle = now.plus_seconds(app.config.refresh_token_expires);
    let absolute = began.plus_seconds(app.config.grant_expires);
    idle.min(absolute).min(until.unwrap_or(idle))
}

fn invalid(name: &'static str, sentence: &str, remedy: &str) -> Refusal {
    Refusal::new(name, OauthError::InvalidGrant, sentence, remedy)
}

fn unknown() -> Refusal {
    let remedy = "The application must send the code that it got, unchanged.";
    invalid("code.unknown", "The code is unknown.", remedy)
}

fn spent() -> Refusal {
    let remedy = "The application must exchange each code once.";
    invalid("code.spent", "The code was exchanged before.", remedy)
}

/// Compares a code with the request that presents it.
fn check_bindings(row: &Model, client: &Client, presented: &Presented<'_>) -> Checked {
    if row.client_id != client.id {
        let remedy = "The application must exchange the codes that it asked for itself.";
        return Err(invalid("code.of_another_client", "The code is unknown.", remedy));
    }
    if presented.redirect_uri != Some(row.redirect_uri.as_str()) {
        let sentence = "The redirect_uri is not the one that the code was sent to.";
        let remedy = "The application must send the same redirect_uri with the code as before.";
        let refusal = invalid("code.redirect_uri_mismatch", sentence, remedy);
        return Err(refusal
            .expected(&row.redirect_uri)
            .came(presented.redirect_uri.unwrap_or("none")));
    }
    let granted = resources_of(row);
    if !presented.resources.iter().all(|uri| granted.contains(uri)) {
        let sentence = "The resource was not granted.";
        let remedy = "The application must ask for resources when the user signs in.";
        let error = OauthError::InvalidTarget;
        return Err(Refusal::new("resource.not_granted", error, sentence, remedy));
    }
    check_verifier(row, presented.verifier)
}

/// Compares the challenge of a code with a verifier (RFC 7636, section 4.6).
fn check_verifier(row: &Model, verifier: Option<&str>) -> Checked {
    let turn_on = "The application must send the code_verifier of the same request.";
    match (&row.code_challenge, verifier) {
        (None, None) => Ok(()),
        (Some(_), None) => {
            Err(invalid("pkce.verifier_missing", "The code_verifier is missing.", turn_on))
        }
        (None, Some(_)) => {
            let sentence = "The request for the code had no code_challenge.";
            Err(invalid("pkce.without_challenge", sentence, turn_on))
        }
        (Some(challenge), Some(verifier)) => {
            let computed = URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()));
            if verify_slices_are_equal(computed.as_bytes(), challenge.as_bytes()).is_ok()
                && is_verifier(verifier)
            {
                return Ok(());
            }
            let sentence = "The code_verifier does not fit the code_challenge.";
            let remedy = match verifier == challenge {
                true => {
                    "The application sends the challenge as the verifier: it must send the text that it hashed."
                }
                false => turn_on,
            };
            Err(invalid("pkce.verifier_mismatch", sentence, remedy))
        }
    }
}

/// Returns true for a verifier of the form that RFC 7636, section 4.1, requires.
fn is_verifier(text: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    (43..=128).contains(&text.len()) && text.bytes().all(known)
}

fn digest_of(code: &str) -> String {
    hex(digest(&SHA256, code.as_bytes()))
}
