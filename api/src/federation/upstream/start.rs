//! The way to a provider: the URL that a browser is sent to.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use url::Url;

use super::refusal::{Checked, Refusal, Why};
use super::sealed::{Begun, Door, Purpose, digest_of_browser};
use super::{Upstream, endpoints};
use crate::app::App;
use crate::base::config::Preset;
use crate::base::{clock, random};

/// The length of a verifier and of a nonce, in letters and digits: 256 bits.
const LENGTH: usize = 43;

/// A request to send a browser to a provider.
pub struct Start<'a> {
    /// Its purpose.
    pub purpose: Purpose,
    /// The receiver of the answer.
    pub door: Door,
    /// The id of the browser.
    pub browser: &'a str,
    /// The place to go to in the end, relative to the first page.
    pub next: &'a str,
    /// `true` if the person must sign in there again.
    pub again: bool,
    /// Scopes to ask for besides those of the settings.
    pub scopes: &'a [String],
    /// The address that the person is expected to have.
    pub login_hint: Option<&'a str>,
}

/// Makes the URL to which a browser is sent.
///
/// # Errors
///
/// The refusal, if the provider cannot be read.
pub async fn url(app: &App, upstream: &Upstream, start: Start<'_>) -> Checked<Url> {
    let endpoints = endpoints::of(app, upstream).await?;
    let settings = &upstream.settings;
    let own = settings.redirect_uri.as_ref().filter(|_| start.door == Door::Program);
    let redirect_uri =
        own.map_or_else(|| upstream.redirect_uri(app), |own| own.as_str().to_owned());
    let begun = Begun {
        upstream: upstream.name().to_owned(),
        verifier: random::letters_and_digits(LENGTH),
        nonce: random::letters_and_digits(LENGTH),
        browser: digest_of_browser(start.browser),
        purpose: start.purpose,
        door: start.door,
        redirect_uri,
        next: start.next.to_owned(),
        again: start.again,
        at: clock::now().millis(),
    };
    let state = begun.seal(app).ok_or_else(|| {
        let remedy =
            "The request of the application is too long. Shorten its state, nonce or claims.";
        Refusal::new("start.too_long", Why::Unreadable, remedy)
    })?;
    let mut url = endpoints.authorization.clone();
    let mut scopes = settings.scopes.clone();
    scopes.extend(start.scopes.iter().filter(|scope| !settings.scopes.contains(scope)).cloned());
    url.query_pairs_mut()
        .append_pair("response_type", "code")
        .append_pair("client_id", &settings.client_id)
        .append_pair("redirect_uri", &begun.redirect_uri)
        .append_pair("scope", &scopes.join(" "))
        .append_pair("state", &state)
        .append_pair("code_challenge", &challenge(&begun.verifier))
        .append_pair("code_challenge_method", "S256");
    if settings.preset != Preset::Github {
        url.query_pairs_mut().append_pair("nonce", &begun.nonce);
        if start.again {
            url.query_pairs_mut().append_pair("max_age", "0").append_pair("prompt", "login");
        }
    }
    if let Some(hint) = start.login_hint.filter(|hint| !hint.is_empty()) {
        let name = if settings.preset == Preset::Github { "login" } else { "login_hint" };
        url.query_pairs_mut().append_pair(name, hint);
    }
    Ok(url)
}

/// The challenge of a verifier (RFC 7636, section 4.2).
fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()))
}

/// The place where a person signs out of a provider too, if it has one.
///
/// # Errors
///
/// The refusal, if the provider cannot be read.
pub async fn end_url(app: &App, upstream: &Upstream) -> Checked<Option<Url>> {
    let endpoints = endpoints::of(app, upstream).await?;
    Ok(endpoints.end_session.clone().map(|mut url| {
        let back = format!("{}/login", app.config.public_url.as_str());
        url.query_pairs_mut()
            .append_pair("client_id", &upstream.settings.client_id)
            .append_pair("post_logout_redirect_uri", &back);
        url
    }))
}

#[cfg(test)]
mod tests {
    use super::challenge;

    /// The example of RFC 7636, appendix B.
    #[test]
    fn the_challenge_is_the_digest_of_the_verifier() {
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        assert_eq!(challenge(verifier), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }
}
