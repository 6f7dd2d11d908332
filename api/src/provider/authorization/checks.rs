//! The checks of an authorization request: one list, in the order in which they run.
//!
//! Each check is a function of what was loaded before (`Draft`). None of them writes or reads a table. So an operator
//! can run the same list for any URL, and it has no effect.

use crate::base::scope::Scopes;
use crate::identity::user::User;
use crate::provider::client::settings::Pkce;
use crate::provider::client::{
    ApplicationType, Client, GrantType, OauthError, RedirectUri, Refusal, claims, redirect,
    shown_id,
};

use super::claims_request::ClaimsRequest;
use super::draft::{Draft, Mode, Prompt, Proof, SignIn};

/// A check with its name.
pub(super) struct Check {
    /// The name. A refusal has the same name before its dot.
    pub(super) name: &'static str,
    /// The function.
    pub(super) check: fn(&mut Draft) -> Outcome,
}

/// The reason why a request does not get a code.
pub enum Stop {
    /// It is refused. Whether the client hears of it depends on the check.
    Refused(Refusal),
    /// Somebody must sign in first.
    SignIn(SignIn),
    /// The user cannot use this client. A page says so, and leads on with the refusal.
    NotForUser(Refusal),
    /// The user must consent first.
    Consent,
}

/// The outcome of a check.
pub(super) type Outcome = Result<(), Stop>;

/// The checks. Those up to `redirect_uri` decide whether the client may hear of a refusal. The next one is `response_mode`,
/// so that each refusal after it is sent in the way that the request asks for.
///
/// A later release has `pushed` after `client`, and `dpop_jkt` before `authentication`.
pub(super) const CHECKS: [Check; 16] = [
    Check { name: "parameters", check: parameters },
    Check { name: "client", check: client },
    Check { name: "redirect_uri", check: redirect_uri },
    Check { name: "response_mode", check: response_mode },
    Check { name: "unsupported", check: unsupported },
    Check { name: "response_type", check: response_type },
    Check { name: "pkce", check: pkce },
    Check { name: "scope", check: scope },
    Check { name: "resource", check: resource },
    Check { name: "prompt", check: prompt },
    Check { name: "max_age", check: max_age },
    Check { name: "claims", check: claims },
    Check { name: "hint", check: hint },
    Check { name: "authentication", check: authentication },
    Check { name: "user", check: user },
    Check { name: "consent", check: consent },
];

/// The last check whose refusal is shown on a page, because the place to send it to is not known to be the client's.
pub(super) const LAST_ON_PAGE: &str = "redirect_uri";

/// Runs the checks. Returns the first one that stops the request, if one does.
pub(super) fn run(draft: &mut Draft) -> Option<(&'static str, Stop)> {
    CHECKS.iter().find_map(|Check { name, check }| Some((*name, check(draft).err()?)))
}

/// Runs the checks that need nobody to be signed in.
pub(super) fn run_before_authentication(draft: &mut Draft) -> Option<(&'static str, Stop)> {
    let mut before = CHECKS.iter().take_while(|check| check.name != "authentication");
    before.find_map(|Check { name, check }| Some((*name, check(draft).err()?)))
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// A refusal of a request that its application must change.
fn invalid(name: &'static str, sentence: &str) -> Refusal {
    let remedy = "Correct the request of the application.";
    Refusal::new(name, OauthError::InvalidRequest, sentence, remedy)
}

/// A text as one word of a command.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "%27"))
}

fn parameters(draft: &mut Draft) -> Outcome {
    Ok(draft.readable.clone()?)
}

fn client(draft: &mut Draft) -> Outcome {
    let list = "`tessera client list` shows the clients that exist.";
    let refuse = |name, sentence: &str, remedy: String| {
        Refusal::new(name, OauthError::InvalidRequest, sentence, remedy)
    };
    let Some(id) = &draft.asked.client_id else {
        let sentence = "The request has no client_id.";
        return Err(refuse("client.missing", sentence, list.to_owned()).into());
    };
    let Some(client) = &draft.client else {
        let sentence = "No application with this client_id is registered here.";
        return Err(refuse("client.unknown", sentence, list.to_owned()).came(shown_id(id)).into());
    };
    if !client.is_active {
        let sentence = "This application is disabled here.";
        let remedy = client.remedy("--enable");
        return Err(refuse("client.disabled", sentence, remedy).into());
    }
    Ok(())
}

fn redirect_uri(draft: &mut Draft) -> Outcome {
    let client = draft.client()?;
    let refuse = |name, sentence: &str, remedy: String| {
        Refusal::new(name, OauthError::InvalidRequest, sentence, remedy)
    };
    let Some(uri) = &draft.asked.redirect_uri else {
        let remedy = "The application must send its redirect_uri.".to_owned();
        return Err(
            refuse("redirect_uri.missing", "The request has no redirect_uri.", remedy).into()
        );
    };
    if client.redirect_uri(uri).is_some() {
        return Ok(());
    }
    let sentence = "The redirect_uri of the request is not registered for this application.";
    let known = client.redirect_uris.iter().map(|known| known.as_str());
    let options: Vec<_> = known.chain([uri.as_str()]).map(quoted).collect();
    let remedy = match RedirectUri::parse(uri, client.rules()) {
        Ok(_) => client.remedy(&format!("--redirect {}", options.join(" --redirect "))),
        Err(fault) => format!("It cannot be registered. {fault}. Change it in the application."),
    };
    let refusal = refuse("redirect_uri.not_registered", sentence, remedy).came(uri);
    Err(Stop::Refused(match redirect::nearest(&client.redirect_uris, uri) {
        Some((nearest, _)) => refusal.expected(nearest.as_str()),
        None => refusal,
    }))
}

fn unsupported(draft: &mut Draft) -> Outcome {
    let remedy = "Turn off request objects in the application.";
    for (given, name, error) in [
        (&draft.asked.request, "unsupported.request", OauthError::RequestNotSupported),
        (&draft.asked.request_uri, "unsupported.request_uri", OauthError::RequestUriNotSupported),
        (
            &draft.asked.registration,
            "unsupported.registration",
            OauthError::RegistrationNotSupported,
        ),
    ] {
        if given.is_some() {
            let sentence = "The request has a parameter that is not supported here.";
            return Err(Refusal::new(name, error, sentence, remedy).into());
        }
    }
    Ok(())
}

fn response_type(draft: &mut Draft) -> Outcome {
    let client = draft.client()?;
    let remedy = "Configure the application for the authorization code flow.";
    match draft.asked.response_type.as_deref() {
        Some("code") if client.can_use(GrantType::AuthorizationCode) => Ok(()),
        Some("code") => {
            let sentence = "This application cannot use the authorization code flow.";
            let grants = client.grant_types.iter().map(|known| <&str>::from(*known));
            let grants: Vec<_> = grants.chain(["authorization_code"]).collect();
            let remedy = client.remedy(&format!("--grant {}", grants.join(",")));
            let error = OauthError::UnauthorizedClient;
            Err(Refusal::new("response_type.not_allowed", error, sentence, remedy).into())
        }
        Some(other) => {
            let sentence = "The only response_type is code.";
            let error = OauthError::UnsupportedResponseType;
            let refusal = Refusal::new("response_type.unsupported", error, sentence, remedy);
            Err(refusal.expected("code").came(other).into())
        }
        None => Err(invalid("response_type.missing", "The request has no response_type.").into()),
    }
}

fn response_mode(draft: &mut Draft) -> Outcome {
    draft.mode = match draft.asked.response_mode.as_deref() {
        None | Some("query") => Mode::Query,
        // An app's own scheme receives no forms.
        Some("form_post") if is_web(draft) => Mode::FormPost,
        Some(other) => {
            let sentence = "The response_mode must be query or form_post.";
            return Err(invalid("response_mode.unsupported", sentence).came(other).into());
        }
    };
    Ok(())
}

fn is_web(draft: &Draft) -> bool {
    let uri = draft.asked.redirect_uri.as_deref().unwrap_or_default();
    uri.starts_with("https://") || uri.starts_with("http://")
}

fn pkce(draft: &mut Draft) -> Outcome {
    let client = draft.client()?;
    let method = draft.asked.code_challenge_method.as_deref();
    let Some(challenge) = &draft.asked.code_challenge else {
        if method.is_some() {
            let sentence = "The request has a code_challenge_method, but no code_challenge.";
            return Err(invalid("pkce.challenge_missing", sentence).into());
        }
        if client.settings.pkce == Pkce::Optional && !client.is_public() {
            return Ok(());
        }
        let sentence =
            "The request has no code_challenge, which this application must send (PKCE).";
        let remedy = format!(
            "Turn on PKCE with S256 in the application. If it cannot do that and has a secret: {}",
            client.remedy("--pkce optional")
        );
        let error = OauthError::InvalidRequest;
        return Err(Refusal::new("pkce.missing", error, sentence, remedy).into());
    };
    if method != Some("S256") {
        let sentence = "The code_challenge_method must be S256. A request without one means plain.";
        let came = method.unwrap_or("none");
        return Err(invalid("pkce.method", sentence).expected("S256").came(came).into());
    }
    let is_digest = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if challenge.len() != 43 || !challenge.bytes().all(is_digest) {
        let sentence = "The code_challenge must be 43 characters of base64url.";
        return Err(invalid("pkce.challenge", sentence).into());
    }
    Ok(())
}

fn scope(draft: &mut Draft) -> Outcome {
    let client = draft.client()?;
    let asked = draft.asked.scope.as_deref().unwrap_or_default();
    let words = asked.split(' ').filter(|word| !word.is_empty());
    let (allowed, dropped): (Vec<_>, Vec<_>) = words.partition(|word| client.scopes.contains(word));
    if allowed.is_empty() {
        let sentence = match asked {
            "" => "The request has no scope.",
            _ => "This application cannot ask for any scope of the request.",
        };
        let known = client.scopes.words();
        let words: Vec<_> = known.iter().map(String::as_str).chain(dropped.clone()).collect();
        let words = quoted(&words.join(","));
        let remedy = client.remedy(&format!("--scope {words}"));
        let error = OauthError::InvalidScope;
        let refusal = Refusal::new("scope.none_allowed", error, sentence, remedy);
        return Err(refusal.expected(client.scopes.to_string()).came(asked).into());
    }
    draft.scopes = Scopes::of(&allowed);
    draft.dropped = dropped.into_iter().map(ToOwned::to_owned).collect();
    Ok(())
}

fn resource(draft: &mut Draft) -> Outcome {
    let client = draft.client()?;
    let unknown = |uri: &&String| {
        let known = draft.resources.iter().find(|known| known.uri == **uri);
        !known.is_some_and(|known| known.is_active && client.can_ask_for(known))
    };
    let Some(uri) = draft.asked.resource.iter().find(unknown) else { return Ok(()) };
    let sentence = "This application cannot ask for the resource of the request.";
    let known = client.settings.resources.iter().map(String::as_str);
    let uris = quoted(&known.chain([uri.as_str()]).collect::<Vec<_>>().join(","));
    let change = client.remedy(&format!("--resource {uris}"));
    let remedy = format!("Check that `tessera resource list` has it, and: {change}");
    let refusal = Refusal::new("resource.not_allowed", OauthError::InvalidTarget, sentence, remedy);
    Err(refusal.came(uri).into())
}

fn prompt(draft: &mut Draft) -> Outcome {
    let words = draft.asked.prompt.as_deref().unwrap_or_default();
    for word in words.split(' ').filter(|word| !word.is_empty()) {
        let Ok(prompt) = word.parse::<Prompt>() else {
            let sentence = "The prompt must be none, login, consent, select_account or create.";
            return Err(invalid("prompt.unsupported", sentence).came(word).into());
        };
        draft.prompts.insert(prompt);
    }
    if draft.prompts.contains(&Prompt::None) && draft.prompts.len() > 1 {
        let sentence = "The prompt none cannot be combined with others.";
        return Err(invalid("prompt.contradictory", sentence).came(words).into());
    }
    Ok(())
}

fn max_age(draft: &mut Draft) -> Outcome {
    let Some(text) = &draft.asked.max_age else { return Ok(()) };
    let is_number = text.len() <= 10 && text.bytes().all(|byte| byte.is_ascii_digit());
    let Some(seconds) = text.parse().ok().filter(|_| is_number) else {
        let sentence = "The max_age must be a number of seconds.";
        return Err(invalid("max_age.malformed", sentence).came(text).into());
    };
    draft.max_age = Some(seconds);
    Ok(())
}

fn claims(draft: &mut Draft) -> Outcome {
    let Some(text) = &draft.asked.claims else { return Ok(()) };
    let Some(asked) = ClaimsRequest::parse(text) else {
        let sentence =
            "The parameter claims must be a JSON object (OpenID Connect Core, section 5.5).";
        return Err(invalid("claims.malformed", sentence).into());
    };
    // Asking for a claim is asking for its scope, so that the user consents to it.
    let client = draft.client()?;
    let names = asked.of_id_token().chain(asked.of_userinfo());
    let words: Vec<_> =
        names.filter_map(claims::scope_of).filter(|word| client.scopes.contains(word)).collect();
    draft.scopes = draft.scopes.iter().chain(Scopes::of(&words).iter()).cloned().collect();
    draft.claims = Some(asked);
    Ok(())
}

fn hint(draft: &mut Draft) -> Outcome {
    if draft.asked.id_token_hint.is_some() && draft.asked.hint.is_none() {
        let sentence =
            "The id_token_hint is not an ID token that this server issued to this application.";
        return Err(invalid("hint.invalid", sentence).into());
    }
    Ok(())
}

fn authentication(draft: &mut Draft) -> Outcome {
    let asks = |prompt: Prompt| draft.prompts.contains(&prompt);
    let essential = draft.claims.as_ref().and_then(ClaimsRequest::essential_acr);
    let essential = essential.unwrap_or_default();
    let can_be = |class: &String| draft.classes.contains(&class.as_str());
    if !essential.is_empty() && !essential.iter().any(can_be) {
        return Err(unmet(draft, &essential).into());
    }
    let Some(needed) = sign_in_needed(draft, &essential)? else { return Ok(()) };
    if asks(Prompt::None) {
        let sentence = "The user is not signed in, and the request has prompt=none.";
        let remedy = "The application must send the request again without prompt=none.";
        let error = OauthError::LoginRequired;
        return Err(Refusal::new("authentication.required", error, sentence, remedy).into());
    }
    Err(Stop::SignIn(needed))
}

/// The refusal of a request that requires a proof in another way than the one that the user gave, or that exists.
fn unmet(draft: &Draft, essential: &[String]) -> Refusal {
    let sentence = "Nobody proved who they are in the way that the request requires.";
    let error = OauthError::UnmetAuthenticationRequirements;
    let remedy = "Ask for an acr of the discovery document, or for none.";
    let refusal = Refusal::new("authentication.acr", error, sentence, remedy);
    refusal.expected(draft.classes.join(" ")).came(essential.join(" "))
}

/// The refusal of a request that requires another user than the one who has just signed in for it (OpenID Connect Core,
/// section 3.1.2.1).
fn other_user() -> Refusal {
    let sentence = "Another user signed in than the one whom the request requires.";
    let remedy = "The user signs in with the account that the application knows, or the application forgets it.";
    Refusal::new("authentication.other_user", OauthError::LoginRequired, sentence, remedy)
}

/// The sign-in that is needed, unless a session satisfies the request. It is asked for once: a user who has just signed in
/// for the request, but as somebody else or in another way, is refused.
fn sign_in_needed(draft: &Draft, essential: &[String]) -> Result<Option<SignIn>, Refusal> {
    let asks = |prompt: Prompt| draft.prompts.contains(&prompt);
    let Some(Proof { user, began, auth_time, class, .. }) = &draft.proof else {
        return Ok(Some(if asks(Prompt::Create) { SignIn::Register } else { SignIn::First }));
    };
    let is_after = *auth_time > draft.began;
    let must_prove = asks(Prompt::Login) && !is_after;
    // A user who signed in since has chosen an account, also if their provider says no time.
    let has_chosen = is_after || *began > draft.began;
    let must_choose = [Prompt::SelectAccount, Prompt::Create].into_iter().any(asks) && !has_chosen;
    // The user may sign in while the page is open. So an age is measured at the beginning, not now.
    let is_young = draft
        .max_age
        .is_none_or(|seconds| is_after || draft.began <= auth_time.plus_seconds(seconds));
    let sub = user.id.to_string();
    let hinted = draft.asked.hint.as_ref().map(|hint| hint.sub.as_str());
    let claimed = draft.claims.as_ref().and_then(ClaimsRequest::sub);
    let is_expected = [hinted, claimed].into_iter().flatten().all(|expected| expected == sub);
    let is_met = essential.is_empty() || essential.iter().any(|known| known == class);
    match () {
        () if !is_expected && has_chosen => Err(other_user()),
        () if !is_met && (has_chosen || asks(Prompt::None)) => Err(unmet(draft, essential)),
        () if must_prove || must_choose || !is_young => Ok(Some(SignIn::Again)),
        () if !is_expected || !is_met => Ok(Some(SignIn::Again)),
        () => Ok(None),
    }
}

fn user(draft: &mut Draft) -> Outcome {
    let client = draft.client()?;
    let Some(Proof { user, .. }) = &draft.proof else { return Err(Stop::SignIn(SignIn::First)) };
    let Some(refusal) = refusal_for(&client, user) else { return Ok(()) };
    if draft.prompts.contains(&Prompt::None) {
        return Err(Stop::Refused(refusal));
    }
    Err(Stop::NotForUser(refusal))
}

/// Returns the refusal of a user who cannot use a client. Each exchange asks again, because the client or the user may have
/// changed since the sign-in.
pub fn refusal_for(client: &Client, user: &User) -> Option<Refusal> {
    let refuse = |name, sentence: &str, remedy: String| {
        Refusal::new(name, OauthError::AccessDenied, sentence, remedy)
    };
    if client.settings.verified_email && !user.is_verified {
        let sentence =
            "This application requires a verified e-mail address, and yours is not verified.";
        let change = client.remedy("--verified-email=false");
        let remedy = format!("The user must verify the address, or: {change}");
        return Some(refuse("user.not_verified", sentence, remedy));
    }
    let only = &client.settings.only;
    let scopes = user.scopes();
    if only.is_empty() || only.iter().any(|word| scopes.contains(word)) {
        return None;
    }
    let sentence = "You are not allowed to use this application.";
    // It is recorded, so it names no user.
    let remedy = format!(
        "Give the user one of these scopes at /admin/users, or with PATCH /users/{{id}}: {}",
        only.join(" ")
    );
    Some(refuse("user.not_allowed", sentence, remedy).expected(only.join(" ")))
}

fn consent(draft: &mut Draft) -> Outcome {
    let client = draft.client()?;
    if draft.decided || client.settings.trusted {
        return Ok(());
    }
    let missing = draft.missing_consent();
    let is_remembered = !can_be_anybody(draft) && missing.is_empty();
    if is_remembered && !draft.prompts.contains(&Prompt::Consent) {
        return Ok(());
    }
    if draft.prompts.contains(&Prompt::None) {
        let sentence = "The user has not consented, and the request has prompt=none.";
        let change = client.remedy("--trusted");
        let remedy = format!(
            "The application must send the request again without prompt=none, or: {change}"
        );
        let error = OauthError::ConsentRequired;
        return Err(Refusal::new("consent.required", error, sentence, remedy).into());
    }
    Err(Stop::Consent)
}

/// Returns true if every program on a device could receive the code: the redirect goes to a port of this machine, or to
/// a scheme that any app can claim. So a permission for one of them is never remembered.
pub(super) fn can_be_anybody(draft: &Draft) -> bool {
    let Some(client) = &draft.client else { return true };
    let uri = draft.asked.redirect_uri.as_deref().unwrap_or_default();
    client.application_type == ApplicationType::Native && !uri.starts_with("https://")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An order that differs sends a refusal to a place that was not checked, or in another way than the client expects.
    #[test]
    fn the_checks_run_in_this_order() {
        let names: Vec<_> = CHECKS.iter().map(|check| check.name).collect();
        let (on_page, to_client): (Vec<&str>, Vec<&str>) = names
            .clone()
            .into_iter()
            .partition(|name| position(&names, name) <= position(&names, LAST_ON_PAGE));
        assert_eq!(on_page, ["parameters", "client", "redirect_uri"]);
        assert_eq!(
            to_client.join(" "),
            "response_mode unsupported response_type pkce scope resource prompt max_age claims hint \
             authentication user consent"
        );
    }

    fn position(names: &[&str], name: &str) -> Option<usize> {
        names.iter().position(|known| *known == name)
    }
}
