//! The pages of the authorization endpoint, and the page of a user's applications.

use entity::ClientId;
use minijinja::{Value, context};
use poem::http::{HeaderValue, StatusCode, header};
use poem::{Body, Request, Response, handler};
use serde::Deserialize;

use super::checks::{self, Stop};
use super::draft::{Draft, Mode, OF_USERS, Proof, SignIn};
use super::explain::{opened, unreadable};
use super::parameters::{MAX_LENGTH, Parameters};
use super::{code, consent};
use crate::access::caller::page::{CheckedForm, Form, PageRequest};
use crate::base::clock::{self, Timestamp};
use crate::base::error::{Code, Error, Result, described};
use crate::base::request_context;
use crate::http::body::FORM;
use crate::http::browser_request::{in_query, refuse};
use crate::http::flow::{self, Flow};
use crate::http::page::Frame;
use crate::http::paths::PageRoute;
use crate::provider::client::{Checked, OauthError, Refusal, recorded, redirect};

/// The form of the consent page.
#[derive(Deserialize)]
struct Decision {
    request: String,
    decision: String,
}

/// The form that ends the access of an application.
#[derive(Deserialize)]
struct Ending {
    client: String,
}

/// The pages of this module.
pub(crate) fn pages() -> Vec<PageRoute> {
    vec![
        PageRoute::form("/oauth2/authorize", authorize, authorize_by_form).head(look),
        PageRoute::post("/oauth2/consent", decide),
        PageRoute::form("/account/apps", apps, end_app),
    ]
}

/// The answer to the client.
enum Reply<'a> {
    Code(&'a str),
    Refused(&'a Refusal),
}

/// Programs that only look at a URL get no code.
#[handler]
fn look() -> StatusCode {
    StatusCode::OK
}

#[handler]
async fn authorize(http: &Request, mut request: PageRequest) -> poem::Result<Response> {
    let app = request.app.clone();
    let query = http.uri().query().unwrap_or_default();
    let sealed = query.strip_prefix(flow::PARAMETER).and_then(|rest| rest.strip_prefix('='));
    let (read, began) = match sealed {
        Some(sealed) => match opened(&app, sealed) {
            Some(opened) => opened,
            None => return Ok(refusal_page(&request, None, &unreadable())),
        },
        None => (Parameters::read(query), clock::now()),
    };
    let draft = load(&request, read, began).await;
    let draft = draft.map_err(|error| refuse(&request, error))?;
    proceed(&mut request, draft).await.map_err(|error| refuse(&request, error))
}

/// A request in the body. A browser that comes from another site sends no cookie with it, so it is led to the same
/// request in a URL.
#[handler]
async fn authorize_by_form(http: &Request, frame: Frame, body: Body) -> poem::Result<Response> {
    let kind = http.header(header::CONTENT_TYPE).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case(FORM) {
        return Err(refuse(&frame, Code::UnsupportedMediaType.into()));
    }
    let text = body.into_bytes_limit(2 * MAX_LENGTH).await.unwrap_or_default();
    let read = Parameters::read(std::str::from_utf8(&text).unwrap_or_default());
    let answered = async {
        let mut draft = Draft::load(&frame.app, read, clock::now(), None).await?;
        if let Some((name, Stop::Refused(refusal))) = checks::run_before_authentication(&mut draft)
        {
            return Ok(refused(&frame, &draft, name, &refusal));
        }
        Ok(match flow_of(&draft)?.place(&frame.app) {
            Some(place) => redirect_within(&frame, &place),
            None => refused(&frame, &draft, "flow", &too_long()),
        })
    };
    answered.await.map_err(|error: Error| refuse(&frame, error))
}

#[handler]
async fn decide(posted: Form<Decision>) -> poem::Result<Response> {
    let Form { form: Decision { request: sealed, decision }, mut request, stale } = posted;
    let app = request.app.clone();
    let Some((read, began)) = opened(&app, &sealed) else {
        return Ok(refusal_page(&request, None, &unreadable()));
    };
    let draft = load(&request, read, began).await;
    let mut draft = draft.map_err(|error| refuse(&request, error))?;
    // A page that was open for too long is shown again.
    if stale.is_none() && decision == "deny" {
        return Ok(match checks::run(&mut draft) {
            Some((name, Stop::Refused(refusal))) => refused(&request, &draft, name, &refusal),
            Some((name, Stop::NotForUser(refusal))) => refused(&request, &draft, name, &refusal),
            _ => refused(&request, &draft, "consent", &denied()),
        });
    }
    draft.decided = stale.is_none() && decision == "accept";
    proceed(&mut request, draft).await.map_err(|error| refuse(&request, error))
}

async fn load(
    request: &PageRequest,
    read: (Parameters, Checked),
    began: Timestamp,
) -> Result<Draft> {
    let proof = request.signed_in.as_ref().map(Proof::from);
    Draft::load(&request.app, read, began, proof).await
}

/// Runs the checks, and answers with a code, a refusal or the page that comes next.
async fn proceed(request: &mut PageRequest, mut draft: Draft) -> Result<Response> {
    if let Some(languages) = &draft.asked.ui_locales {
        request.speak(languages);
    }
    let (name, stop) = match checks::run(&mut draft) {
        None => match code::issue(&request.app, &draft).await? {
            Some(code) => return Ok(reply(request, &draft, &Reply::Code(&code))),
            // The session ended in the meantime.
            None => ("authentication", Stop::SignIn(SignIn::First)),
        },
        Some(stopped) => stopped,
    };
    if let Stop::Refused(refusal) = &stop {
        return Ok(refused(request, &draft, name, refusal));
    }
    let flow = flow_of(&draft)?;
    let Some(place) = flow.place(&request.app) else {
        return Ok(refused(request, &draft, "flow", &too_long()));
    };
    let next = in_query(&format!("/{place}"));
    match stop {
        Stop::SignIn(kind) => Ok(redirect_within(
            request,
            &match kind {
                SignIn::First => format!("login?next={next}"),
                SignIn::Again => format!("login?again=1&next={next}"),
                SignIn::Register => format!("register?next={next}"),
            },
        )),
        Stop::Consent => {
            request.join(&flow);
            Ok(consent_page(request, &draft, &place))
        }
        Stop::NotForUser(refusal) => {
            request.join(&flow);
            Ok(not_for_user_page(request, &draft, &place, &refusal))
        }
        Stop::Refused(_) => Err(Code::InternalServerError.into()),
    }
}

fn flow_of(draft: &Draft) -> Result<Flow> {
    let uri = draft.asked.redirect_uri.as_deref().unwrap_or_default();
    Ok(Flow {
        began: draft.began.millis(),
        target: flow::target_of(uri),
        languages: draft.asked.ui_locales.clone(),
        login_hint: draft.asked.login_hint.clone(),
        request: draft.sealed()?,
    })
}

/// A redirect to a page of this server.
fn redirect_within(frame: &Frame, place: &str) -> Response {
    let mut response = frame.redirect(place);
    let policy = HeaderValue::from_static("strict-origin");
    response.headers_mut().insert(header::REFERRER_POLICY, policy);
    response
}

/// The answer to a request that a check refused.
fn refused(frame: &Frame, draft: &Draft, name: &str, refusal: &Refusal) -> Response {
    let place = |name: &str| checks::CHECKS.iter().position(|check| check.name == name);
    // A refusal that is not in the list comes after its checks, so the client may hear of it.
    if place(name).is_some_and(|place_of| Some(place_of) <= place(checks::LAST_ON_PAGE)) {
        return refusal_page(frame, Some(draft), refusal);
    }
    reply(frame, draft, &Reply::Refused(refusal))
}

/// Records a refusal, and returns its reference.
fn noted(frame: &Frame, draft: Option<&Draft>, refusal: &Refusal) -> String {
    let client = draft.and_then(|draft| draft.client.as_deref());
    let reference = recorded::note(&frame.app, client, "authorize", refusal);
    tracing::info!(
        refusal.name = refusal.name,
        refusal.reference = reference,
        "an authorization request is refused"
    );
    reference
}

/// Sends an answer to the client, through the browser (RFC 6749, section 4.1.2; RFC 9207).
fn reply(frame: &Frame, draft: &Draft, reply: &Reply<'_>) -> Response {
    let mut pairs: Vec<(&str, String)> = match reply {
        Reply::Code(code) => vec![("code", (*code).to_owned())],
        Reply::Refused(refusal) => vec![
            ("error", refusal.error.name().to_owned()),
            ("error_description", description(refusal, &noted(frame, Some(draft), refusal))),
        ],
    };
    pairs.extend(draft.asked.state.clone().map(|state| ("state", state)));
    pairs.push(("iss", frame.app.config.public_url.as_str().to_owned()));
    let uri = draft.asked.redirect_uri.as_deref().unwrap_or_default();
    if draft.mode == Mode::FormPost {
        let mut frame = frame.clone();
        frame.lead_to(flow::target_of(uri));
        let values = context! { action => uri, fields => pairs };
        return frame.page(StatusCode::OK, "form_post.html", values);
    }
    let mut location = uri.to_owned();
    location.push(if uri.contains('?') { '&' } else { '?' });
    location.push_str(&serde_urlencoded::to_string(&pairs).unwrap_or_default());
    match HeaderValue::try_from(location) {
        Ok(location) => Response::builder()
            .status(StatusCode::SEE_OTHER)
            .header(header::LOCATION, location)
            .finish(),
        Err(_) => refusal_page(frame, Some(draft), &unreadable()),
    }
}

/// The sentence of a refusal with its reference and the id of the request.
fn description(refusal: &Refusal, reference: &str) -> String {
    let id = request_context::current().request_id.unwrap_or_default();
    let Refusal { sentence, name, .. } = refusal;
    described(&format!("{sentence} ({name}, reference {reference}, request {id})"))
}

/// A page that shows why a request is refused. Only administrators see what came, because anybody can make such a
/// request.
fn refusal_page(frame: &Frame, draft: Option<&Draft>, refusal: &Refusal) -> Response {
    let reference = noted(frame, draft, refusal);
    let shown = frame.app.config.dev || frame.is_read_by_admin();
    let (marked, difference) = difference_of(draft, refusal).unzip();
    let key = refusal.name.replace(['.', '_'], "-");
    let values = context! {
        key,
        name => refusal.name,
        reference,
        request => request_context::current().request_id.unwrap_or_default(),
        shown,
        expected => refusal.expected.as_deref(),
        came => refusal.came.as_deref(),
        marked,
        remedy => frame.text(remedy_key(refusal)),
        command => command_of(&refusal.remedy),
        difference,
    };
    frame.page(StatusCode::BAD_REQUEST, "refused.html", values)
}

/// The redirect URI that came and the nearest registered one, each in three parts of which the second differs, and the
/// name of the difference.
fn difference_of(draft: Option<&Draft>, refusal: &Refusal) -> Option<(Value, &'static str)> {
    if refusal.name != "redirect_uri.not_registered" {
        return None;
    }
    let came = refusal.came.as_deref()?;
    let client = draft?.client.as_ref()?;
    let (nearest, difference) = redirect::nearest(&client.redirect_uris, came)?;
    let (came, expected) = redirect::marked(came, nearest.as_str());
    let owned = |parts: [&str; 3]| parts.map(ToOwned::to_owned);
    Some((context! { came => owned(came), expected => owned(expected) }, difference.into()))
}

/// The command at the end of a remedy, if it has one.
fn command_of(remedy: &str) -> Option<&str> {
    remedy.rfind("tessera client update").map(|at| &remedy[at..])
}

/// The name of the sentence that says what operators do about a refusal that a page shows.
fn remedy_key(refusal: &Refusal) -> &'static str {
    let is_declared = refusal.remedy.starts_with("CLIENTS_FILE");
    match refusal.name {
        _ if is_declared => "remedy-declared",
        "client.missing" | "client.unknown" => "remedy-client",
        "client.disabled" => "remedy-disabled",
        "redirect_uri.not_registered" if command_of(&refusal.remedy).is_none() => {
            "remedy-redirect-never"
        }
        "redirect_uri.not_registered" => "remedy-redirect",
        "flow.unreadable" => "remedy-flow",
        _ => "remedy-request",
    }
}

fn consent_page(request: &PageRequest, draft: &Draft, place: &str) -> Response {
    let (Some(client), Some(proof)) = (&draft.client, &draft.proof) else {
        return request.refusal(&request.text("did-not-work"), Code::InternalServerError.into());
    };
    let resources: Vec<_> = draft
        .resources
        .iter()
        .map(|resource| context! { name => &resource.name, uri => &resource.uri })
        .collect();
    let words = draft.scopes.words().into_iter();
    let (known, of_apis): (Vec<_>, Vec<_>) =
        words.partition(|word| OF_USERS.contains(&word.as_str()));
    let values = context! {
        name => &client.name,
        host => host_of(draft),
        email => &proof.user.email,
        known,
        words => of_apis,
        resources,
        sealed => sealed_of(place),
        again => format!("login?again=1&next={}", in_query(&format!("/{place}"))),
    };
    request.page(StatusCode::OK, "consent.html", values)
}

fn not_for_user_page(
    request: &PageRequest,
    draft: &Draft,
    place: &str,
    refusal: &Refusal,
) -> Response {
    let values = context! {
        name => draft.client.as_ref().map(|client| client.name.clone()).unwrap_or_default(),
        why => request.text(match refusal.name {
            "user.not_verified" => "app-needs-verified",
            _ => "app-not-allowed",
        }),
        unverified => refusal.name == "user.not_verified",
        mails => request.app.mail.sends(),
        sealed => sealed_of(place),
        reference => noted(request, Some(draft), refusal),
        again => format!("login?again=1&next={}", in_query(&format!("/{place}"))),
    };
    request.page(StatusCode::FORBIDDEN, "not_for_user.html", values)
}

/// The sealed text in a place.
fn sealed_of(place: &str) -> &str {
    place.split_once('=').map_or("", |(_, sealed)| sealed)
}

/// The host that the code goes to, or the scheme of an app.
fn host_of(draft: &Draft) -> String {
    let target = flow::target_of(draft.asked.redirect_uri.as_deref().unwrap_or_default());
    target.split_once("://").map_or(target.clone(), |(_, host)| host.to_owned())
}

fn invalid(name: &'static str, sentence: &str, remedy: &str) -> Refusal {
    Refusal::new(name, OauthError::InvalidRequest, sentence, remedy)
}

fn too_long() -> Refusal {
    let sentence = "The request is too long to be carried through the pages.";
    let remedy = "Shorten state, nonce or claims in the application.";
    invalid("flow.too_long", sentence, remedy)
}

fn denied() -> Refusal {
    let sentence = "The user denied the request.";
    let remedy = "The user can open the application again.";
    Refusal::new("consent.denied", OauthError::AccessDenied, sentence, remedy)
}

#[handler]
async fn apps(request: PageRequest) -> poem::Result<Response> {
    let signed_in = request.signed_in()?;
    let found = consent::apps_of(&request.app, signed_in.user.id).await;
    let found = found.map_err(|error| refuse(&request, error))?;
    let apps: Vec<_> = found
        .into_iter()
        .map(|app| {
            context! {
                id => app.client.to_string(),
                name => app.name,
                client_id => app.client_id,
                scopes => app.scopes.join(" "),
                last_used => app.last_used,
                consented => app.consented,
            }
        })
        .collect();
    Ok(request.page(StatusCode::OK, "apps.html", context! { apps }))
}

#[handler]
async fn end_app(posted: CheckedForm<Ending>) -> poem::Result<Response> {
    let CheckedForm { form: Ending { client }, request } = posted;
    let signed_in = request.signed_in()?;
    let ended = match client.parse::<ClientId>() {
        Ok(client) => consent::end(&request.app, signed_in.user.id, client).await,
        Err(_) => Err(Code::NotFound.into()),
    };
    match ended {
        Ok(()) => Ok(request.redirect_with_flash("account/apps", "", "app-ended")),
        // It was ended in another window.
        Err(error) if error.code() == Code::NotFound => Ok(request.redirect("account/apps")),
        Err(error) => Err(refuse(&request, error)),
    }
}
