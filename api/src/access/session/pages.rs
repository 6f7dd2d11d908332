//! The pages for signing in and out.

use minijinja::{Value, context};
use poem::http::StatusCode;
use poem::{Response, handler};
use serde::Deserialize;

use super::Device;
use super::browser::{self, SignedIn};
use crate::access::caller::page::{CheckedForm, Form, PageRequest};
use crate::app::App;
use crate::base::config::Registration;
use crate::base::error::{Code, Error, Result};
use crate::http::browser_request::{PageQuery, in_query, next_place};
use crate::http::page::Frame;
use crate::http::paths::PageRoute;
use crate::identity::factor::Password;
use crate::identity::factor::password_check::{self, Account};

/// The query of the sign-in page.
#[derive(Deserialize)]
struct LoginQuery {
    next: Option<String>,
    /// Present if a user who is signed in must give the password again.
    again: Option<String>,
}

/// The form for signing in.
#[derive(Deserialize)]
struct SignIn {
    email: String,
    password: String,
    next: Option<String>,
    again: Option<String>,
}

/// The form for signing out, which has no fields.
#[derive(Deserialize)]
struct SignOut {}

/// The pages of this module.
pub(crate) fn pages() -> Vec<PageRoute> {
    vec![
        PageRoute::get("/", home),
        PageRoute::get("/auth", redirect_to_login),
        PageRoute::form("/login", login_form, login),
        PageRoute::post("/logout", logout),
    ]
}

#[handler]
fn redirect_to_login(frame: Frame) -> Response {
    frame.redirect("login")
}

#[handler]
fn login_form(mut request: PageRequest, PageQuery(query): PageQuery<LoginQuery>) -> Response {
    let LoginQuery { next, again } = query;
    if request.signed_in.is_some() && again.is_none() {
        return request.redirect(next_place(next.as_deref()));
    }
    let hint = request.join_next(next.as_deref()).unwrap_or_default();
    form(&request, Typed { email: &hint, next: next.as_deref(), again: again.is_some() }, None)
}

/// The fields of the form, as they are shown again.
struct Typed<'a> {
    email: &'a str,
    next: Option<&'a str>,
    again: bool,
}

#[handler]
async fn login(device: Device, sent: Form<SignIn>) -> Response {
    let Form { form: SignIn { email, password, next, again }, mut request, stale } = sent;
    let next = next.as_deref();
    request.join_next(next);
    let typed = Typed { email: &email, next, again: again.is_some() };
    if let Some(error) = stale {
        // The user has signed in in another window.
        if request.signed_in.is_some() && again.is_none() {
            return request.redirect(next_place(next));
        }
        return form(&request, typed, Some(&error));
    }
    let app = request.app.clone();
    let before = request.signed_in.clone();
    match sign_in(&app, &typed, Password::new(password), before.as_ref(), device).await {
        Ok(id) => {
            request.change_id(&id);
            request.redirect(next_place(next))
        }
        Err(error) => form(&request, typed, Some(&error)),
    }
}

/// Signs in a user with their password. Returns the id for the cookie.
async fn sign_in(
    app: &App,
    typed: &Typed<'_>,
    password: Password,
    before: Option<&SignedIn>,
    device: Device,
) -> Result<String> {
    super::require_ready(app)?;
    let account = Account::Address(typed.email);
    let authentication = password_check::prove(app, account, password, device.ip).await?;
    // A user who was only asked again keeps the session, and what applications got in it.
    if let Some(before) = before
        && typed.again
        && authentication.user() == before.user.id
    {
        let id = browser::new_id();
        browser::freshen(app, before, &authentication, &id).await?;
        return Ok(id);
    }
    let id = browser::sign_in(app, authentication, device.clone()).await?;
    // The previous session of this browser ends, because nobody could sign out of it any more.
    if let Some(before) = before {
        browser::sign_out(app, before, device).await?;
    }
    Ok(id)
}

fn form(request: &PageRequest, typed: Typed<'_>, error: Option<&Error>) -> Response {
    let Typed { email, next, again } = typed;
    let app = &request.app;
    let not_verified = error.is_some_and(|error| error.code() == Code::LoginUserNotVerified);
    let fault = error.map(|error| match error.code() {
        Code::LoginUserNotVerified if app.mail.sends() => request.text("sign-in-not-verified"),
        Code::LoginUserNotVerified => request.text("not-verified-no-mail"),
        _ => request.message(error),
    });
    let values = context! {
        email,
        next,
        again,
        onward => next.map(|next| format!("?next={}", in_query(next))).unwrap_or_default(),
        fault,
        registration => app.config.registration == Registration::Open,
        mails => app.mail.sends(),
        not_verified,
        providers => providers(app),
        dev => app.config.dev,
        ways => onward_with(next, again),
    };
    request.form("login.html", values, error)
}

/// The other providers, for their buttons.
pub(crate) fn providers(app: &App) -> Vec<Value> {
    let upstreams = app.config.federation.upstreams.iter();
    upstreams
        .map(|upstream| context! { name => &upstream.name, label => &upstream.label })
        .collect()
}

/// The query of the link to a provider, which leads on to the same place.
pub(crate) fn onward_with(next: Option<&str>, again: bool) -> String {
    let again = again.then(|| "again=1".to_owned());
    let next = next.map(|next| format!("next={}", in_query(next)));
    let parts: Vec<_> = again.into_iter().chain(next).collect();
    if parts.is_empty() { String::new() } else { format!("?{}", parts.join("&")) }
}

#[handler]
async fn logout(device: Device, posted: CheckedForm<SignOut>) -> Response {
    let CheckedForm { form: SignOut {}, mut request } = posted;
    if let Some(signed_in) = &request.signed_in
        && let Err(error) = browser::sign_out(&request.app, signed_in, device).await
    {
        return request.refusal(&request.text("sign-out"), error);
    }
    // Forms that this browser opened before do not work any more.
    let there = match &request.signed_in {
        Some(signed_in) => browser::ends_at(&request.app, signed_in).await,
        None => None,
    };
    request.change_id(&browser::new_id());
    match there {
        Some(name) => request.redirect(&format!("logout/with/{name}")),
        None => request.redirect_with_flash("login", "", "signed-out"),
    }
}

#[handler]
fn home(request: PageRequest) -> poem::Result<Response> {
    let signed_in = request.signed_in()?;
    let mails = request.app.mail.sends();
    let profile = &signed_in.user.profile;
    let values = context! {
        is_verified => signed_in.user.is_verified,
        mails,
        name => profile.name.as_deref().unwrap_or_default(),
    };
    Ok(request.page(StatusCode::OK, "home.html", values))
}

/// A readable name for a `User-Agent`: the program and its operating system.
pub(crate) fn device_name(user_agent: &str) -> Option<String> {
    // Most programs also name other programs, so the first match is used.
    let first = |known: &[(&str, &'static str)]| {
        known.iter().find(|(mark, _)| user_agent.contains(mark)).map(|(_, name)| *name)
    };
    let program = first(&[
        ("Edg", "Edge"),
        ("OPR/", "Opera"),
        ("SamsungBrowser/", "Samsung Internet"),
        ("Firefox/", "Firefox"),
        ("FxiOS/", "Firefox"),
        ("CriOS/", "Chrome"),
        ("Chromium/", "Chromium"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
        ("curl/", "curl"),
        ("HTTPie/", "HTTPie"),
        ("python-", "Python"),
        ("Python", "Python"),
        ("okhttp/", "Android"),
        ("Go-http-client/", "Go"),
    ]);
    let system = first(&[
        ("Windows", "Windows"),
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Android", "Android"),
        ("CrOS", "ChromeOS"),
        ("Mac OS X", "macOS"),
        ("Linux", "Linux"),
    ]);
    match (program, system) {
        (Some(program), Some(system)) if program != system => Some(format!("{program}, {system}")),
        (Some(name), _) | (None, Some(name)) => Some(name.to_owned()),
        (None, None) => user_agent
            .split(['/', ' '])
            .next()
            .filter(|name| !name.is_empty())
            .map(ToOwned::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::device_name;

    #[test]
    fn a_user_agent_gives_the_names_of_the_program_and_the_system() {
        for (user_agent, name) in [
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
                "Firefox, Linux",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0",
                "Edge, Windows",
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15",
                "Safari, macOS",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/140.0 Mobile/15E148 Safari/604.1",
                "Chrome, iPhone",
            ),
            ("curl/8.5.0", "curl"),
            ("my-script/1.0", "my-script"),
        ] {
            assert_eq!(device_name(user_agent).as_deref(), Some(name), "{user_agent}");
        }
        assert_eq!(device_name(""), None);
    }
}
