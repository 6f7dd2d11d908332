//! Pages: HTML from templates, which work without scripts, in the language of whoever reads them.

mod brand;
mod place;
pub(crate) mod text;

use std::path::Path;
use std::sync::Arc;

use chrono::DateTime;
use fluent_bundle::FluentValue;
use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Environment, ErrorKind, UndefinedBehavior, Value, context};
use poem::error::NotFoundError;
use poem::http::{HeaderValue, StatusCode, header};
use poem::{FromRequest, Request, RequestBody, Response, handler};

use self::place::Places;
use self::text::Texts;
use super::asset::Asset;
use super::paths::PageRoute;
use crate::app::App;
use crate::base::config::{ConfigError, PageSettings};
use crate::base::error::page::{Head, field_of, text_name};
use crate::base::error::{Code, Error, Result};

/// How pages look.
const STYLE: &str = include_str!("page/style.css");

/// What shows how hard a password is to guess, as it is typed.
const STRENGTH: &str = include_str!("page/strength.js");

macro_rules! embedded {
    ($($name:literal),* $(,)?) => { [$(($name, include_str!(concat!("page/", $name)))),*] };
}

/// The templates that come with the program.
const TEMPLATES: [(&str, &str); 23] = embedded![
    "layout.html",
    "macros.html",
    "account.html",
    "ask.html",
    "form.html",
    "home.html",
    "login.html",
    "register.html",
    "said.html",
    "verify.html",
    "admin/layout.html",
    "admin/confirm.html",
    "admin/events.html",
    "admin/keys.html",
    "admin/mail.html",
    "admin/overview.html",
    "admin/revocations.html",
    "admin/servers.html",
    "admin/sessions.html",
    "admin/settings.html",
    "admin/tokens.html",
    "admin/user.html",
    "admin/users.html",
];

/// What pages are made of.
#[derive(Debug)]
pub struct Pages {
    /// For each language the templates, saying what they say in it.
    templates: Vec<(String, Environment<'static>)>,
    texts: Arc<Texts>,
    style: Asset,
    strength: Asset,
    logo: Option<Asset>,
}

impl Pages {
    /// What comes with the program, but for what a folder has, in the colours of the settings.
    ///
    /// # Errors
    ///
    /// Names the file that cannot be used.
    pub(crate) fn read(settings: &PageSettings) -> Result<Self, ConfigError> {
        let folder = settings.page_templates.as_deref();
        if let Some(folder) = folder {
            check(folder)?;
        }
        let texts = Arc::new(Texts::read(folder)?);
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.add_filter("time", time);
        environment.add_filter("day", day);
        for (name, source) in TEMPLATES {
            let own = own(folder, name)?;
            if let Some(own) = &own {
                check_names(name, own, &texts)?;
            }
            environment
                .add_template_owned(name, own.unwrap_or_else(|| source.to_owned()))
                .map_err(|error| refused(name, &error.to_string()))?;
        }
        let places =
            settings.geoip_database.as_deref().map(Places::read).transpose()?.map(Arc::new);
        let templates = texts.languages().map(|language| {
            let (tag, texts) = (language.to_owned(), Arc::clone(&texts));
            let mut environment = environment.clone();
            environment.add_function("text", move |name: &str, values: Kwargs| {
                text_of(&texts, &tag, name, &values)
            });
            let (tag, places) = (language.to_owned(), places.clone());
            environment.add_filter("place", move |address: &str| match &places {
                Some(places) => places.name(address, &tag),
                None => address.to_owned(),
            });
            (language.to_owned(), environment)
        });
        let templates = templates.collect();
        let style = own(folder, "style.css")?.unwrap_or_else(|| STYLE.to_owned());
        let extra = own(folder, "extra.css")?.unwrap_or_default();
        let style = style + &brand::variables(settings.brand_color) + &extra;
        let logo = settings.brand_logo.as_deref().map(brand::logo).transpose()?;
        Ok(Self {
            templates,
            texts,
            style: Asset::new("text/css; charset=utf-8", style),
            strength: Asset::new("text/javascript; charset=utf-8", STRENGTH),
            logo,
        })
    }
}

/// What a folder has in place of a file of ours.
fn own(folder: Option<&Path>, name: &str) -> Result<Option<String>, ConfigError> {
    let Some(folder) = folder else { return Ok(None) };
    match std::fs::read_to_string(folder.join(name)) {
        Ok(source) => Ok(Some(source)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(refused(name, &error.to_string())),
    }
}

/// A mistyped name must not leave a page as it comes without a word.
fn check(folder: &Path) -> Result<(), ConfigError> {
    let place = folder.display().to_string();
    if !folder.is_dir() {
        return Err(refused(&place, "there is no such folder"));
    }
    for (inside, prefix) in [(folder.to_owned(), ""), (folder.join("admin"), "admin/")] {
        let entries = match std::fs::read_dir(&inside) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(refused(&place, &error.to_string())),
        };
        for entry in entries {
            let entry = entry.map_err(|error| refused(&place, &error.to_string()))?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            let is_text = prefix.is_empty() && name.ends_with(".ftl");
            let known = TEMPLATES.iter().any(|(known, _)| *known == name)
                || is_text
                || ["style.css", "extra.css", "admin"].contains(&name.as_str());
            let is_kept_by_an_editor =
                name.ends_with('~') || name.contains("/.") || name.starts_with('.');
            if !known && !is_kept_by_an_editor {
                let names: Vec<_> = TEMPLATES.iter().map(|(name, _)| *name).collect();
                let names = names.join(", ");
                let fault = format!(
                    "no page is called that: there are {names}; style.css, extra.css, and texts as de.ftl"
                );
                return Err(refused(&name, &fault));
            }
        }
    }
    Ok(())
}

/// A template that extends another that there is not fails whenever its page is shown, and one that asks for a
/// text that there is not may.
fn check_names(name: &str, source: &str, texts: &Texts) -> Result<(), ConfigError> {
    let named = |word: &str| -> Vec<String> {
        let rests = source.split(word).skip(1);
        rests.filter_map(|rest| rest.split('"').next().map(ToOwned::to_owned)).collect()
    };
    let is_known = |name: &&String| TEMPLATES.iter().any(|(known, _)| known == name);
    if let Some(unknown) = named("{% extends \"").iter().find(|name| !is_known(name)) {
        return Err(refused(name, &format!("no template is called {unknown}")));
    }
    for text in named(" text(\"").iter().filter(|text| !text.ends_with('-') && !texts.have(text)) {
        tracing::warn!(template = name, text, "PAGE_TEMPLATES: no text is called that");
    }
    Ok(())
}

fn refused(name: &str, fault: &str) -> ConfigError {
    ConfigError::new(&format!("PAGE_TEMPLATES: {name}: {fault}"))
}

/// `text("name", value=…)`: what the page's language has of that name.
fn text_of(
    texts: &Texts,
    language: &str,
    name: &str,
    values: &Kwargs,
) -> Result<String, minijinja::Error> {
    let mut given = Vec::new();
    for key in values.args() {
        let value: Value = values.get(key)?;
        let value = match value.kind() {
            ValueKind::Number => FluentValue::from(f64::try_from(value)?),
            _ => FluentValue::from(value.to_string()),
        };
        given.push((key, value));
    }
    // What another release does, or will, is told by its name.
    let unknown = || name.strip_prefix("act-").map(ToOwned::to_owned);
    texts.say(language, name, &given).or_else(unknown).ok_or_else(|| {
        minijinja::Error::new(ErrorKind::InvalidOperation, format!("no text is called {name}"))
    })
}

/// Whether somebody looks who reads pages, rather than a program that reads answers: browsers want HTML before
/// anything else.
pub(crate) fn is_wanted(request: &Request) -> bool {
    let accepted = request.header(header::ACCEPT).unwrap_or_default();
    let mut first = accepted.split(',').next().unwrap_or_default().split(';').map(str::trim);
    let is_html = first.next().is_some_and(|kind| kind.eq_ignore_ascii_case("text/html"));
    let weight = |parameter: &str| parameter.strip_prefix("q=")?.parse().ok();
    is_html && first.find_map(weight) != Some(0.0)
}

/// An instant, from seconds since the epoch.
fn time(seconds: i64) -> String {
    let instant = DateTime::from_timestamp(seconds, 0);
    instant.map_or_else(String::new, |at| at.format("%Y-%m-%d %H:%M UTC").to_string())
}

/// A day, from an instant in it, in seconds since the epoch.
fn day(seconds: i64) -> String {
    let instant = DateTime::from_timestamp(seconds, 0);
    instant.map_or_else(String::new, |at| at.format("%Y-%m-%d").to_string())
}

/// What a page stands in: whom it is for, and where.
#[derive(Clone)]
pub(crate) struct Frame {
    /// The service.
    pub(crate) app: App,
    language: String,
    /// The way from the page to the first one: `PUBLIC_URL` may have a path.
    root: String,
    /// Where it is, from there.
    place: String,
    /// Who reads it.
    signed_in: Value,
    /// What its forms repeat.
    csrf: String,
    /// What was done before the browser was redirected to it.
    said: Value,
}

impl Frame {
    pub(crate) fn of(request: &Request) -> Result<Self> {
        Self::at(request.data::<App>().ok_or(Code::InternalServerError)?, request)
    }

    /// Where a request leads, of a service that it does not know yet.
    pub(crate) fn at(app: &App, request: &Request) -> Result<Self> {
        let accepted = request.header(header::ACCEPT_LANGUAGE).unwrap_or_default();
        let language = made_of(app)?.texts.chosen(accepted).to_owned();
        let depth = request.uri().path().matches('/').count().clamp(1, 16) - 1;
        let root = if depth == 0 { "./".to_owned() } else { "../".repeat(depth) };
        // Who is signed in is not known to a page that says why that could not be asked.
        let (signed_in, csrf) = (Value::from(()), String::new());
        let place = request.uri().path_and_query().map_or("/", |place| place.as_str());
        let place = place.trim_start_matches('/').to_owned();
        let said = context! {};
        Ok(Self { app: app.clone(), language, root, place, signed_in, csrf, said })
    }

    /// Shows who reads the page.
    pub(super) fn read_by(&mut self, signed_in: Value) {
        self.signed_in = signed_in;
    }

    /// Has forms repeat what belongs to their browser.
    pub(super) fn repeat_in_forms(&mut self, csrf: String) {
        self.csrf = csrf;
    }

    /// Says in a part of the page what was done, by the name of its text.
    pub(super) fn flash(&mut self, section: &str, name: &str) {
        self.said = context! { done => self.text(name), section };
    }

    /// Where the page is, from the first one.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// What the reader's language has of a name.
    pub(crate) fn text(&self, name: &str) -> String {
        self.text_with(name, &[])
    }

    /// The same, with values.
    pub(crate) fn text_with(&self, name: &str, values: &[(&str, FluentValue<'_>)]) -> String {
        self.found(name, values).unwrap_or_else(|| name.to_owned())
    }

    fn found(&self, name: &str, values: &[(&str, FluentValue<'_>)]) -> Option<String> {
        self.app.pages().ok()?.texts.say(&self.language, name, values)
    }

    /// Why something was refused, for its reader: never the cause.
    pub(crate) fn message(&self, error: &Error) -> String {
        let messages = error.messages().iter().filter(|message| !message.name.is_empty());
        let told: Vec<_> = messages
            .map(|message| {
                let number = message.number.and_then(|number| u32::try_from(number).ok());
                let values: Vec<_> = number
                    .map(|number| ("number", FluentValue::from(number)))
                    .into_iter()
                    .collect();
                self.found(&message.name, &values).unwrap_or_else(|| message.sentence.clone())
            })
            .collect();
        if !told.is_empty() {
            return told.join(" ");
        }
        let minutes = error.wait().map_or(1, |wait| wait.as_secs().div_ceil(60));
        let minutes = u32::try_from(minutes).unwrap_or(u32::MAX);
        self.text_with(&text_name(error.code()), &[("minutes", minutes.into())])
    }

    /// A page from a template.
    pub(crate) fn page(&self, status: StatusCode, template: &str, values: Value) -> Response {
        self.rendered(status, template, values).unwrap_or_else(|error| {
            let values = context! {
                title => self.text("did-not-work"),
                said => self.message(&error),
                fault => true,
                more => "",
            };
            let head = Head::of(&error);
            match self.rendered(head.status(), "said.html", values) {
                Ok(page) => head.onto(page),
                Err(_) => head.without_page(),
            }
        })
    }

    fn rendered(&self, status: StatusCode, template: &str, values: Value) -> Result<Response> {
        let pages = made_of(&self.app)?;
        let settings = &self.app.config.pages;
        let contact = settings.brand_contact.as_ref();
        let frame = context! {
            language => &self.language,
            failed => status.is_client_error() || status.is_server_error(),
            // Dots and slashes alone.
            root => Value::from_safe_string(self.root.clone()),
            signed_in => &self.signed_in,
            csrf => &self.csrf,
            brand => context! {
                name => &settings.brand_name,
                initial => brand::initial(&settings.brand_name),
                logo => pages.logo.is_some(),
                contact => contact.map(|contact| context! { link => &contact.link, name => &contact.name }),
            },
        };
        // Where a password is chosen, a script shows how good it is.
        let chooses = values.get_attr("strength").is_ok_and(|strength| strength.is_true());
        let scripts = if chooses { "script-src 'self'; " } else { "" };
        // Most pages are not about what came of a form.
        let missing =
            context! { done => "", fault => "", faulty => "", field => "", section => "" };
        let values = context! { ..frame, ..values, ..self.said.clone(), ..missing };
        let known = pages.templates.iter().find(|(tag, _)| *tag == self.language);
        let (_, environment) = known.ok_or(Code::InternalServerError)?;
        let html = environment
            .get_template(template)
            .and_then(|template| template.render(values))
            // Without the values it was made with: a secret may be among them.
            .map_err(|error| Error::because(Code::InternalServerError, format!("{error}")))?;
        let images = if pages.logo.is_some() { "img-src 'self'; " } else { "" };
        // Nothing but our own is loaded, and forms lead nowhere else.
        let policy = format!(
            "default-src 'none'; style-src 'self'; {images}{scripts}form-action 'self'; \
             base-uri 'none'; frame-ancestors 'none'"
        );
        Ok(Response::builder()
            .status(status)
            .content_type("text/html; charset=utf-8")
            .header(header::CONTENT_SECURITY_POLICY, policy)
            .header(header::CONTENT_LANGUAGE, &self.language)
            .header(header::VARY, "Accept-Language")
            // With none at all, browsers hide from us that a form is our own page's.
            .header(header::REFERRER_POLICY, "same-origin")
            .body(html))
    }

    /// A page with a form, and why it was refused where it was; in words of its own where it has some.
    pub(crate) fn form(&self, template: &str, values: Value, error: Option<&Error>) -> Response {
        let Some(error) = error else { return self.page(StatusCode::OK, template, values) };
        let (head, told) =
            (Head::of(error), context! { field => field_of(error), fault => self.message(error) });
        head.onto(self.page(head.status(), template, context! { ..values, ..told }))
    }

    /// A page that says something, and may lead on.
    pub(crate) fn said(&self, status: StatusCode, title: &str, text: &str, more: &str) -> Response {
        self.page(status, "said.html", context! { title, said => text, fault => false, more })
    }

    /// A page that says why something was refused: with the status, and how long to wait.
    pub(crate) fn refusal(&self, title: &str, error: Error) -> Response {
        let text = self.message(&error);
        self.refusal_with(title, &text, "", &error)
    }

    /// The same with a text of its own, leading on.
    pub(crate) fn refusal_with(
        &self,
        title: &str,
        text: &str,
        more: &str,
        error: &Error,
    ) -> Response {
        let head = Head::of(error);
        let values = context! { title, said => text, fault => true, more };
        head.onto(self.page(head.status(), "said.html", values))
    }

    /// An answer that redirects to another page, beside this one.
    pub(crate) fn redirect(&self, place: &str) -> Response {
        let place = format!("{}{place}", self.root);
        let place = HeaderValue::try_from(place).unwrap_or(HeaderValue::from_static("./"));
        Response::builder().status(StatusCode::SEE_OTHER).header(header::LOCATION, place).finish()
    }
}

impl<'a> FromRequest<'a> for Frame {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> poem::Result<Self> {
        Ok(Self::of(request)?)
    }
}

fn made_of(app: &App) -> Result<&Pages> {
    app.pages().map_err(|fault| Error::because(Code::InternalServerError, fault))
}

/// What pages load.
pub(crate) fn pages() -> Vec<PageRoute> {
    vec![
        PageRoute::get("/style.css", serve_style),
        PageRoute::get("/strength.js", serve_strength),
        PageRoute::get("/logo", serve_logo),
    ]
}

#[handler]
fn serve_style(request: &Request, frame: Frame) -> Result<Response> {
    Ok(made_of(&frame.app)?.style.answer(request))
}

#[handler]
fn serve_strength(request: &Request, frame: Frame) -> Result<Response> {
    Ok(made_of(&frame.app)?.strength.answer(request))
}

#[handler]
fn serve_logo(request: &Request, frame: Frame) -> poem::Result<Response> {
    let logo = made_of(&frame.app)?.logo.as_ref().ok_or(NotFoundError)?;
    Ok(logo.answer(request))
}
