//! The checks of an ID token (OpenID Connect Core, section 3.1.3.7): one list, in the order in which they run.

use aws_lc_rs::digest::{self, SHA256, SHA384, SHA512};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::keys::Algorithm;
use super::refusal::{Checked, Refusal, Why};
use super::sealed::Begun;
use super::{Upstream, endpoints, json};
use crate::app::App;
use crate::base::clock::{self, Timestamp};

/// The maximum length of an ID token, in bytes.
const MAX_LENGTH: usize = 32 * 1024;

/// The difference that is allowed between the clocks of the provider and of this server, in seconds.
const SKEW: u64 = 60;

/// The maximum age of a token when it comes, in seconds. It was made for the code that has just come.
const MAX_AGE: u64 = 3600;

/// The time between two requests for keys, if a token names a key that is not known, in seconds.
const KEYS_EVERY: u64 = 60;

/// A token whose signature was verified.
pub struct IdToken {
    algorithm: Algorithm,
    claims: Standard,
    /// All its claims.
    pub all: Map<String, Value>,
}

/// The claims that are checked. A claim that appears twice is an error.
#[derive(Deserialize)]
struct Standard {
    iss: String,
    sub: String,
    aud: OneOrMany,
    azp: Option<String>,
    exp: f64,
    iat: f64,
    nbf: Option<f64>,
    nonce: Option<String>,
    at_hash: Option<String>,
    auth_time: Option<f64>,
    tid: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn list(&self) -> &[String] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

/// The members of a header that are used. A member that appears twice is an error.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<IgnoredAny>,
}

/// A token in its parts, before its signature was verified.
pub(crate) struct Parts<'a> {
    algorithm: Algorithm,
    kid: Option<String>,
    signed: &'a str,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

impl<'a> Parts<'a> {
    /// Splits a token. The algorithm must be an asymmetric one.
    pub(crate) fn split(upstream: &Upstream, token: &'a str) -> Checked<Self> {
        let malformed = || Refusal::untrusted("id_token.malformed", upstream);
        if token.len() > MAX_LENGTH {
            return Err(malformed());
        }
        let (signed, signature) = token.rsplit_once('.').ok_or_else(malformed)?;
        let (header, payload) = signed.split_once('.').ok_or_else(malformed)?;
        let decoded = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| malformed());
        let header: Header = serde_json::from_slice(&decoded(header)?).map_err(|_| malformed())?;
        if header.crit.is_some() {
            return Err(malformed());
        }
        let Ok(algorithm) = header.alg.parse() else {
            let refusal = Refusal::untrusted("id_token.alg", upstream);
            let shown: String = header.alg.chars().take(16).collect();
            return Err(refusal.expected("an asymmetric algorithm, such as RS256").came(shown));
        };
        Ok(Self {
            algorithm,
            kid: header.kid,
            signed,
            payload: decoded(payload)?,
            signature: decoded(signature)?,
        })
    }

    /// Verifies the signature with the keys of the provider. They are read again, once a minute, if the key is unknown.
    pub(crate) async fn verify(&self, app: &App, upstream: &Upstream) -> Checked {
        let kid = self.kid.as_deref();
        let mut keys = endpoints::keys(app, upstream, endpoints::USED_FOR).await?;
        if !keys.have(self.algorithm, kid) {
            keys = endpoints::keys(app, upstream, KEYS_EVERY).await?;
        }
        if !keys.have(self.algorithm, kid) {
            let shown: String = kid.unwrap_or("no key id").chars().take(64).collect();
            let refusal = Refusal::untrusted("id_token.key", upstream);
            return Err(refusal.expected(keys.names().join(" ")).came(shown));
        }
        match keys.verify(self.algorithm, kid, self.signed.as_bytes(), &self.signature) {
            true => Ok(()),
            false => Err(Refusal::untrusted("id_token.signature", upstream)),
        }
    }

    /// The claims.
    pub(crate) fn payload(&self) -> &[u8] {
        &self.payload
    }
}

/// The values that an ID token must fit.
pub struct Expected<'a> {
    /// The provider.
    pub upstream: &'a Upstream,
    /// The sign-in that began.
    pub begun: &'a Begun,
    /// The access token that came with it.
    pub access_token: &'a str,
    /// The time.
    pub now: Timestamp,
}

/// Reads a token and verifies its signature.
///
/// # Errors
///
/// The refusal.
pub async fn read(app: &App, upstream: &Upstream, token: &str) -> Checked<IdToken> {
    let parts = Parts::split(upstream, token)?;
    parts.verify(app, upstream).await?;
    let malformed = |fault| Refusal::untrusted("id_token.malformed", upstream).came(fault);
    let claims = json::read(parts.payload()).map_err(malformed)?;
    let all = json::read(parts.payload()).map_err(malformed)?;
    Ok(IdToken { algorithm: parts.algorithm, claims, all })
}

/// A check with its name.
pub(super) struct Check {
    /// The name of its refusal.
    pub(super) name: &'static str,
    check: fn(&IdToken, &Expected<'_>) -> Found,
}

/// The checks of the claims. Each fails with the value that was expected and the one that came.
pub(super) const CHECKS: [Check; 10] = [
    Check { name: "id_token.tenant", check: tenant },
    Check { name: "id_token.iss", check: iss },
    Check { name: "id_token.aud", check: aud },
    Check { name: "id_token.azp", check: azp },
    Check { name: "id_token.exp", check: exp },
    Check { name: "id_token.iat", check: iat },
    Check { name: "id_token.nonce", check: nonce },
    Check { name: "id_token.at_hash", check: at_hash },
    Check { name: "id_token.sub", check: sub },
    Check { name: "id_token.auth_time", check: auth_time },
];

impl IdToken {
    /// Runs the checks.
    ///
    /// # Errors
    ///
    /// The refusal of the first check that fails.
    pub fn check(&self, expected: &Expected<'_>) -> Checked {
        for Check { name, check } in &CHECKS {
            let Err((wanted, came)) = check(self, expected) else { continue };
            let upstream = expected.upstream;
            let refusal = match *name {
                "id_token.auth_time" => {
                    let remedy = "The provider does not support max_age=0, so it cannot prove again who \
                                  somebody is. People need a password here for that.";
                    Refusal::new(name, Why::NotAgain, remedy)
                }
                "id_token.exp" | "id_token.iat" => {
                    let remedy = "Compare the clocks of this server and of the provider.";
                    Refusal::new(name, Why::Untrusted, remedy)
                }
                name => Refusal::untrusted(name, upstream),
            };
            let short = |text: String| text.chars().take(200).collect::<String>();
            return Err(refusal.expected(short(wanted)).came(short(came)));
        }
        Ok(())
    }

    /// The subject.
    pub fn subject(&self) -> &str {
        &self.claims.sub
    }

    /// The issuer.
    pub fn issuer(&self) -> &str {
        &self.claims.iss
    }

    /// The time when the person signed in there, if the provider says it.
    pub fn auth_time(&self) -> Option<u64> {
        self.claims.auth_time.map(seconds)
    }
}

/// A NumericDate in whole seconds; one before the epoch counts as the epoch.
pub(crate) fn seconds(date: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a number of seconds saturates"
    )]
    let seconds = date.max(0.0) as u64;
    seconds
}

/// The issuer of tokens. `tenant` is the one that a token names.
pub(crate) fn issuer_of(upstream: &Upstream, tenant: Option<&str>) -> String {
    endpoints::token_issuer(upstream, tenant)
}

/// The outcome of a check: the value that was expected and the one that came, if they differ.
type Found = Result<(), (String, String)>;

fn fits(is_right: bool, expected: impl Into<String>, came: impl Into<String>) -> Found {
    if is_right { Ok(()) } else { Err((expected.into(), came.into())) }
}

fn tenant(token: &IdToken, expected: &Expected<'_>) -> Found {
    let tenants = &expected.upstream.settings.tenants;
    let came = token.claims.tid.clone().unwrap_or_default();
    fits(tenants.is_empty() || tenants.contains(&came), tenants.join(" "), came)
}

fn iss(token: &IdToken, expected: &Expected<'_>) -> Found {
    let issuer = endpoints::token_issuer(expected.upstream, token.claims.tid.as_deref());
    fits(token.claims.iss == issuer, issuer, &token.claims.iss)
}

fn aud(token: &IdToken, expected: &Expected<'_>) -> Found {
    let (own, aud) = (&expected.upstream.settings.client_id, token.claims.aud.list());
    fits(aud.contains(own), own, aud.join(" "))
}

/// With several audiences, the token must name us as the one that asked.
fn azp(token: &IdToken, expected: &Expected<'_>) -> Found {
    let own = &expected.upstream.settings.client_id;
    match &token.claims.azp {
        Some(azp) => fits(azp == own, own, azp),
        None => fits(token.claims.aud.list().len() == 1, own, "several audiences and no azp"),
    }
}

fn exp(token: &IdToken, expected: &Expected<'_>) -> Found {
    let (exp, now) = (seconds(token.claims.exp), expected.now.seconds());
    fits(exp.saturating_add(SKEW) > now, format!("after {now}"), exp.to_string())
}

fn iat(token: &IdToken, expected: &Expected<'_>) -> Found {
    let (iat, now) = (seconds(token.claims.iat), expected.now.seconds());
    let begins = token.claims.nbf.map_or(iat, |nbf| seconds(nbf).max(iat));
    let is_past = begins <= now.saturating_add(SKEW);
    let is_young = iat.saturating_add(MAX_AGE) >= now;
    fits(is_past && is_young, format!("about {now}"), begins.to_string())
}

/// The nonces are secret until now, so neither is shown.
fn nonce(token: &IdToken, expected: &Expected<'_>) -> Found {
    let is_right = token.claims.nonce.as_deref() == Some(&*expected.begun.nonce);
    let came = if token.claims.nonce.is_some() { "another one" } else { "none" };
    fits(is_right, "the nonce of this sign-in", came)
}

/// The first half of the digest of the access token, with the hash of the signature's algorithm.
fn at_hash(token: &IdToken, expected: &Expected<'_>) -> Found {
    let Some(came) = &token.claims.at_hash else { return Ok(()) };
    let algorithm = match token.algorithm {
        Algorithm::Rs256 | Algorithm::Ps256 | Algorithm::Es256 => &SHA256,
        Algorithm::Rs384 | Algorithm::Ps384 | Algorithm::Es384 => &SHA384,
        Algorithm::Rs512 | Algorithm::Ps512 | Algorithm::Es512 | Algorithm::EdDsa => &SHA512,
    };
    let whole = digest::digest(algorithm, expected.access_token.as_bytes());
    let half = URL_SAFE_NO_PAD.encode(&whole.as_ref()[..whole.as_ref().len() / 2]);
    fits(*came == half, "the digest of the access token", "another one")
}

fn sub(token: &IdToken, _: &Expected<'_>) -> Found {
    let sub = &token.claims.sub;
    let is_right = !sub.is_empty() && sub.len() <= 255 && !sub.contains('\0');
    fits(is_right, "1 to 255 bytes", format!("{} bytes", sub.len()))
}

/// If the person had to sign in again, the token says that they did.
fn auth_time(token: &IdToken, expected: &Expected<'_>) -> Found {
    if !expected.begun.again {
        return Ok(());
    }
    let began = expected.begun.began().seconds();
    match token.auth_time() {
        Some(at) => {
            let is_after = at.saturating_add(SKEW) >= began;
            let is_past = at <= expected.now.seconds().saturating_add(SKEW);
            fits(is_after && is_past, format!("after {began}"), at.to_string())
        }
        None => fits(false, format!("after {began}"), "no auth_time"),
    }
}

/// The current time and what a token must fit.
pub fn expected<'a>(
    upstream: &'a Upstream,
    begun: &'a Begun,
    access_token: &'a str,
) -> Expected<'a> {
    Expected { upstream, begun, access_token, now: clock::now() }
}
