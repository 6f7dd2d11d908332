//! The pages for signing in with a provider. `link.rs` has those for linking an identity by hand.

mod link;

use std::sync::Arc;

use minijinja::context;
use poem::http::{HeaderValue, StatusCode, header};
use poem::web::Path;
use poem::{Body, Request, Response, handler};
use serde::{Deserialize, Serialize};

use super::callback::{self, Answer, Received, Refused};
use super::http::{bind, bound, record};
use super::settle::{self, Once, Settled};
use super::{store, whole};
use crate::access::caller::page::{Form, PageRequest};
use crate::access::session::browser::{self, SignedIn};
use crate::access::session::{self, Device};
use crate::app::App;
use crate::base::clock::{self, Timestamp};
use crate::base::error::page::Head;
use crate::base::error::{Code, Error, Result};
use crate::base::request_context;
use crate::federation::upstream::claims::Said;
use crate::federation::upstream::sealed::{self, Begun, Door, Purpose, digest_of_browser};
use crate::federation::upstream::start::{self, Start};
use crate::federation::upstream::{self, Refusal, Upstream, Why, recorded};
use crate::http::body::FORM;
use crate::http::browser_request::{PageQuery, in_query, next_place, refuse};
use crate::http::flow::Flow;
use crate::http::page::Frame;
use crate::http::paths::PageRoute;
use crate::identity::factor::Authentication;
use crate::identity::user::Email;
use crate::platform::unit_of_work::UnitOfWork;
use crate::platform::{rate_limit, seen};

/// The time for which a page waits for its answer, in seconds.
const ARRIVAL_EXPIRES: u64 = 600;

/// The maximum length of an answer in a form, in bytes.
const MAX_FORM: usize = 16 * 1024;

/// The query of a page that leads to a provider.
#[derive(Deserialize)]
struct StartQuery {
    next: Option<String>,
    again: Option<String>,
}

/// The form that asks for an address.
#[derive(Deserialize)]
struct AddressForm {
    email: String,
    arrival: String,
}

/// The claims of a provider, sealed into a page that asks their person something.
#[derive(Serialize, Deserialize)]
struct Arrival {
    said: Said,
    browser: String,
    purpose: Purpose,
    next: String,
    id: String,
    at: i64,
}

impl Arrival {
    fn of(answer: &Answer) -> Self {
        Self {
            said: answer.said.clone(),
            browser: answer.begun.browser.clone(),
            purpose: answer.begun.purpose,
            next: answer.begun.next.clone(),
            id: answer.begun.nonce.clone(),
            at: clock::now().millis(),
        }
    }

    fn seal(&self, app: &App) -> Result<String> {
        Ok(sealed::seal(app, "arrival", self).ok_or(Code::ContentTooLarge)?)
    }

    /// Opens what this browser sends back in time.
    fn open(app: &App, browser: Option<&str>, name: &str, text: &str) -> Result<Self, Refusal> {
        let remedy = "The page was open for too long, or another browser sent its form. The person begins again.";
        let late = || Refusal::new("arrival.expired", Why::TookTooLong, remedy);
        let found: Self = sealed::open(app, "arrival", text).ok_or_else(late)?;
        let until = until(found.at);
        let is_own = browser.is_some_and(|id| digest_of_browser(id) == found.browser);
        let is_right = is_own && found.said.upstream == name && clock::now() <= until;
        is_right.then_some(found).ok_or_else(late)
    }
}

/// The pages of this module.
pub(crate) fn pages() -> Vec<PageRoute> {
    vec![
        PageRoute::get("/login/with/{name}", begin),
        PageRoute::form("/login/with/{name}/callback", receive, receive_by_form),
        PageRoute::post("/login/with/{name}/address", give_address),
        PageRoute::form("/account/link/{name}", link::begin, link::confirm),
        PageRoute::get("/logout/with/{name}", ended),
        PageRoute::form("/account/unlink", link::show_take_back, link::take_back),
    ]
}

fn find(frame: &Frame, name: &str) -> poem::Result<Arc<Upstream>> {
    upstream::find(&frame.app, name).ok_or_else(|| refuse(frame, Code::NotFound.into()))
}

/// Redirects to a page of another server.
fn leave(url: &url::Url) -> Response {
    let place = HeaderValue::try_from(url.as_str());
    let place = place.unwrap_or(HeaderValue::from_static("./"));
    Response::builder()
        .status(StatusCode::SEE_OTHER)
        .header(header::LOCATION, place)
        .header(header::REFERRER_POLICY, "no-referrer")
        .finish()
}

#[handler]
async fn begin(
    http: &Request,
    request: PageRequest,
    Path(name): Path<String>,
    PageQuery(query): PageQuery<StartQuery>,
) -> poem::Result<Response> {
    let upstream = find(&request, &name)?;
    let next = next_place(query.next.as_deref());
    let again = query.again.is_some();
    let purpose = match &request.signed_in {
        Some(_) if !again => return Ok(request.redirect(next)),
        Some(signed_in) => Purpose::again(signed_in.session, signed_in.user.id),
        None => Purpose::SignIn,
    };
    let hint = Flow::of_place(&request.app, Some(next)).and_then(|flow| flow.login_hint);
    let browser = bind(&request.app, http);
    let start = Start {
        purpose,
        door: Door::Page,
        browser: &browser,
        next,
        again,
        scopes: &[],
        login_hint: hint.as_deref(),
    };
    Ok(match start::url(&request.app, &upstream, start).await {
        Ok(url) => leave(&url),
        Err(refusal) => {
            let (upstream, next) = (Some(upstream), next.to_owned());
            refused(&request, Refused { refusal, upstream, next, is_begun_here: false }).await
        }
    })
}

/// An answer in a form. A browser that comes from another site sends no cookie with it, so it is led to the same answer
/// in a URL.
#[handler]
async fn receive_by_form(
    http: &Request,
    frame: Frame,
    Path(name): Path<String>,
    body: Body,
) -> poem::Result<Response> {
    let kind = http.header(header::CONTENT_TYPE).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case(FORM) {
        return Err(refuse(&frame, Code::UnsupportedMediaType.into()));
    }
    let text = body.into_bytes_limit(MAX_FORM).await.unwrap_or_default();
    let pairs: Vec<(String, String)> = serde_urlencoded::from_bytes(&text).unwrap_or_default();
    let known = ["code", "state", "iss", "error"];
    let pairs: Vec<_> = pairs.into_iter().filter(|(name, _)| known.contains(&&**name)).collect();
    let query = serde_urlencoded::to_string(&pairs).unwrap_or_default();
    let upstream = find(&frame, &name)?;
    Ok(frame.redirect(&format!("login/with/{}/callback?{query}", upstream.name())))
}

#[handler]
async fn receive(
    http: &Request,
    mut request: PageRequest,
    device: Device,
    Path(name): Path<String>,
) -> poem::Result<Response> {
    let (app, query) = (request.app.clone(), http.uri().query().unwrap_or_default().to_owned());
    let upstream = find(&request, &name)?;
    if let Some(place) = place_of_program(&app, &upstream, &query) {
        return Ok(request.redirect(&place));
    }
    let limited = rate_limit::upstream(&app, device.ip).await;
    let counted = limited.map_err(|error| refuse(&request, error))?;
    let received = Received {
        name,
        query,
        browser: bound(&app, http).map(ToOwned::to_owned),
        door: Door::Page,
        links: None,
        holder: request.signed_in.as_ref().map(|signed_in| signed_in.user.id),
    };
    let before = request.signed_in.clone();
    let done = whole(async move {
        let done = finish(&app, received, before, device).await?;
        if matches!(done, Done::SignedIn(..) | Done::AskLink(_)) {
            rate_limit::refund(&app, counted).await?;
        }
        Ok(done)
    })
    .await;
    let done = done.map_err(|error| refuse(&request, error))?;
    shown(&mut request, done).await
}

/// The place of an answer that a program waits for. Its browser came to this page, because a provider has one redirect
/// URI.
fn place_of_program(app: &App, upstream: &Upstream, query: &str) -> Option<String> {
    let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query).ok()?;
    let (_, state) = pairs.iter().find(|(name, _)| name == "state")?;
    let begun = Begun::open(app, state).filter(|begun| begun.door == Door::Program)?;
    let folder = if matches!(begun.purpose, Purpose::Link { .. }) { "associate/" } else { "" };
    Some(format!("auth/{folder}{}/callback?{query}", upstream.name()))
}

/// The outcome of an answer.
enum Done {
    /// The browser is signed in, with this id. It goes to the place.
    SignedIn(String, String),
    /// A page asks for an address.
    AskAddress(Answer),
    /// A page asks if the identity is to be linked.
    AskLink(Answer),
    /// The refusal.
    Refused(Refused),
    /// The person is known, but cannot sign in.
    CannotSignIn(Error, String),
}

async fn finish(
    app: &App,
    received: Received,
    before: Option<SignedIn>,
    device: Device,
) -> Result<Done> {
    session::require_ready(app)?;
    let answer = match callback::run(app, received).await? {
        Ok(answer) => answer,
        Err(refused) => return Ok(Done::Refused(refused)),
    };
    match answer.begun.purpose {
        Purpose::Link { .. } => Ok(Done::AskLink(answer)),
        Purpose::Again { .. } => prove_again(app, answer, before).await,
        Purpose::SignIn => {
            let settled =
                settle::settle(app, &answer.upstream, &answer.said, device.ip, None).await?;
            match settled {
                Settled::Proved(proof) => {
                    sign_in(app, proof, answer.begun.next, before, device).await
                }
                Settled::AskAddress => Ok(Done::AskAddress(answer)),
                Settled::Refused(refusal) => Ok(Done::Refused(of_person(answer, refusal))),
            }
        }
    }
}

fn of_person(answer: Answer, refusal: Refusal) -> Refused {
    let Answer { begun, upstream, said: _ } = answer;
    Refused { refusal, upstream: Some(upstream), next: begun.next, is_begun_here: true }
}

/// Signs a browser in.
async fn sign_in(
    app: &App,
    proof: Authentication,
    next: String,
    before: Option<SignedIn>,
    device: Device,
) -> Result<Done> {
    match opened(app, proof, before, device).await {
        Ok(id) => Ok(Done::SignedIn(id, next)),
        Err(error) if error.code().status().is_client_error() => {
            Ok(Done::CannotSignIn(error, next))
        }
        Err(error) => Err(error),
    }
}

/// Opens a session, and returns the id for its cookie. A user who signed in meanwhile in another tab keeps the session, and
/// what applications got in it. The session of another user ends, because nobody could sign out of it any more.
async fn opened(
    app: &App,
    proof: Authentication,
    before: Option<SignedIn>,
    device: Device,
) -> Result<String> {
    if let Some(before) = before.as_ref().filter(|before| before.user.id == proof.user()) {
        let id = browser::new_id();
        match browser::freshen(app, before, &proof, &id).await {
            // It has ended by now.
            Err(error) if error.code() == Code::Unauthorized => {}
            done => return done.map(|()| id),
        }
    }
    let id = browser::sign_in(app, proof, device.clone()).await?;
    if let Some(before) = before {
        browser::sign_out(app, &before, device).await?;
    }
    Ok(id)
}

/// Makes a session fresh, if the same person signed in at the provider again.
async fn prove_again(app: &App, answer: Answer, before: Option<SignedIn>) -> Result<Done> {
    let Some(before) = before else {
        return Ok(Done::Refused(of_person(answer, other_person())));
    };
    let said = &answer.said;
    let reader = app.database.reader();
    let row = store::by_subject(reader, &said.upstream, &said.subject).await?;
    let Some(row) = row.filter(|row| row.user_id == before.user.id && row.issuer == said.issuer)
    else {
        return Ok(Done::Refused(of_person(answer, other_person())));
    };
    let proof = settle::proof(&answer.upstream, said, row.user_id, row.id);
    let id = browser::new_id();
    browser::freshen(app, &before, &proof, &id).await?;
    Ok(Done::SignedIn(id, answer.begun.next))
}

fn other_person() -> Refusal {
    let remedy =
        "The person signed in at the provider with an account that is not linked to the one here.";
    Refusal::new("person.other", Why::OtherPerson, remedy)
}

async fn shown(request: &mut PageRequest, done: Done) -> poem::Result<Response> {
    match done {
        Done::SignedIn(id, next) => {
            request.change_id(&id);
            Ok(request.redirect(&next))
        }
        Done::Refused(refusal) => Ok(refused(request, refusal).await),
        Done::CannotSignIn(error, next) => Ok(cannot_sign_in(request, &error, &next)),
        Done::AskAddress(answer) => {
            let arrival = Arrival::of(&answer);
            let sealed = arrival.seal(&request.app).map_err(|error| refuse(request, error))?;
            Ok(address_page(request, &answer.upstream, &sealed, "", None))
        }
        Done::AskLink(answer) => {
            let arrival = Arrival::of(&answer);
            let sealed = arrival.seal(&request.app).map_err(|error| refuse(request, error))?;
            let there = answer.said.email.as_deref().unwrap_or(&answer.said.subject);
            let values = context! {
                name => answer.upstream.name(),
                label => answer.upstream.label(),
                there,
                arrival => sealed,
                shown => false,
                way => "",
            };
            Ok(request.page(StatusCode::OK, "link.html", values))
        }
    }
}

/// The page for a person who is known, but cannot sign in. If the address is not proved, it says how to prove it.
fn cannot_sign_in(request: &PageRequest, error: &Error, next: &str) -> Response {
    let text = match error.code() {
        Code::LoginUserNotVerified => request.text("sign-in-not-verified"),
        _ => request.message(error),
    };
    let more = match error.code() {
        Code::LoginUserNotVerified if request.app.mail.sends() => "request-verify-token".to_owned(),
        _ => format!("login{}", onward(next)),
    };
    request.refusal_with(&request.text("sign-in"), &text, &more, error)
}

fn onward(next: &str) -> String {
    if next.is_empty() { String::new() } else { format!("?next=/{}", in_query(next)) }
}

/// The page that shows why a sign-in with a provider is refused. Only administrators see what came.
async fn refused(request: &PageRequest, refused: Refused) -> Response {
    if let Err(error) = record(&request.app, &refused).await {
        return request.refusal(&request.text("did-not-work"), error);
    }
    let Refused { refusal, upstream, next, is_begun_here: _ } = refused;
    let shown = request.app.config.dev || request.is_read_by_admin();
    let label = upstream.as_ref().map_or_else(String::new, |upstream| upstream.label().to_owned());
    let reference = request_context::current().request_id.unwrap_or_default();
    let is_signed_in = request.signed_in.is_some();
    let (more, way) = match refusal.why {
        // Another way to prove it is a password, which a mail sets.
        Why::NotAgain => ("forgot-password".to_owned(), "forgot-password"),
        // The person may have signed in in another tab, or gone back to a page. So the way leads on.
        _ if is_signed_in && !["", "account"].contains(&&*next) => (next, "more-continue"),
        _ if is_signed_in => ("account".to_owned(), "more-account"),
        _ => (format!("login{}", onward(&next)), "sign-in"),
    };
    let error = Error::from(refusal.why.code());
    let head = Head::of(&error);
    let values = context! {
        sentence => request.text_with(refusal.why.text(), &[("provider", label.into())]),
        name => refusal.name,
        reference,
        shown,
        expected => refusal.expected.as_deref(),
        came => refusal.came.as_deref(),
        remedy => &*refusal.remedy,
        more,
        way => request.text(way),
    };
    head.onto(request.page(head.status(), "provider_refused.html", values))
}

fn address_page(
    request: &PageRequest,
    upstream: &Upstream,
    arrival: &str,
    email: &str,
    error: Option<&Error>,
) -> Response {
    let values = context! { name => upstream.name(), label => upstream.label(), arrival, email };
    request.form("address.html", values, error)
}

#[handler]
async fn give_address(
    http: &Request,
    device: Device,
    Path(name): Path<String>,
    posted: Form<AddressForm>,
) -> poem::Result<Response> {
    let Form { form: AddressForm { email: typed, arrival: text }, mut request, stale } = posted;
    let upstream = find(&request, &name)?;
    if let Some(error) = stale {
        return Ok(address_page(&request, &upstream, &text, &typed, Some(&error)));
    }
    let email = match typed.parse::<Email>() {
        Ok(email) => email,
        Err(_) => {
            let error = Error::from(Code::UnprocessableContent);
            return Ok(address_page(&request, &upstream, &text, &typed, Some(&error)));
        }
    };
    let browser = bound(&request.app, http);
    let arrival = match Arrival::open(&request.app, browser, &name, &text) {
        Ok(arrival) if arrival.purpose == Purpose::SignIn => arrival,
        Ok(_) => return Ok(late(&request, upstream).await),
        Err(refusal) => {
            let next = String::new();
            let refusal = Refused { refusal, upstream: Some(upstream), next, is_begun_here: false };
            return Ok(refused(&request, refusal).await);
        }
    };
    let (app, before) = (request.app.clone(), request.signed_in.clone());
    // The answer says if the address is taken.
    let limited = rate_limit::upstream(&app, device.ip).await;
    limited.map_err(|error| refuse(&request, error))?;
    let done =
        whole(async move { give(&app, upstream, arrival, email, before, device).await }).await;
    let done = done.map_err(|error| refuse(&request, error))?;
    shown(&mut request, done).await
}

async fn late(request: &PageRequest, upstream: Arc<Upstream>) -> Response {
    let remedy = "The form belongs to another page. The person begins again.";
    let refusal = Refusal::new("arrival.other", Why::Finished, remedy);
    let (upstream, next) = (Some(upstream), String::new());
    refused(request, Refused { refusal, upstream, next, is_begun_here: false }).await
}

/// Makes the account of a person who typed their address. What their provider said is spent in the same transaction, so a
/// form that is sent again changes nothing.
async fn give(
    app: &App,
    upstream: Arc<Upstream>,
    arrival: Arrival,
    email: Email,
    before: Option<SignedIn>,
    device: Device,
) -> Result<Done> {
    let (next, until) = (arrival.next, until(arrival.at));
    let said = settle::with_address(arrival.said, email);
    let once = Some(Once { id: &arrival.id, until });
    let settled = settle::settle(app, &upstream, &said, device.ip, once).await?;
    let refusal = match settled {
        Settled::Proved(proof) => return sign_in(app, proof, next, before, device).await,
        Settled::Refused(refusal) => refusal,
        Settled::AskAddress => {
            Refusal::new("claims.email", Why::NoEmail, "Nobody gave an address.")
        }
    };
    let upstream = Some(upstream);
    Ok(Done::Refused(Refused { refusal, upstream, next, is_begun_here: true }))
}

/// The time until which a page waits for its answer.
fn until(at: i64) -> Timestamp {
    Timestamp::from_millis(at).plus_seconds(ARRIVAL_EXPIRES)
}

/// Spends what a provider said. Returns false if it was spent.
async fn spend(app: &App, id: &str, at: i64) -> Result<bool> {
    let work = UnitOfWork::begin(app).await?;
    let is_first = seen::spend(&work, seen::Purpose::Arrival, id, until(at)).await?;
    work.commit().await?;
    Ok(is_first)
}

/// The page after a sign-out, from which a person signs out of the provider too.
#[handler]
async fn ended(request: PageRequest, Path(name): Path<String>) -> poem::Result<Response> {
    let upstream = find(&request, &name)?;
    let way = match start::end_url(&request.app, &upstream).await {
        Ok(Some(url)) if upstream.settings.ends_there => url,
        Ok(_) => return Ok(request.redirect("login")),
        Err(refusal) => {
            recorded::note(&request.app, Some(&upstream), upstream.label(), &refusal);
            return Ok(request.redirect("login"));
        }
    };
    let values = context! { label => upstream.label(), way => way.as_str() };
    Ok(request.page(StatusCode::OK, "ended.html", values))
}
