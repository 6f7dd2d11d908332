//! Pages: HTML from templates, in the reader's language. They work without scripts.

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
use super::flow::Flow;
use super::paths::PageRoute;
use super::slash::HadSlash;
use crate::app::App;
use crate::base::config::{ConfigError, PageSettings};
use crate::base::error::page::{Head, field_of, text_name};
use crate::base::error::{Code, Error, Result};

/// The built-in stylesheet of pages.
const STYLE: &str = include_str!("page/style.css");

/// The script that shows how hard a password is to guess while the user types it.
const STRENGTH: &str = include_str!("page/strength.js");

macro_rules! embedded {
    ($($name:literal),* $(,)?) => { [$(($name, include_str!(concat!("page/", $name)))),*] };
}

/// The script that sends a form which asks nothing.
const SEND: &str = include_str!("page/send.js");

/// The built-in templates.
const TEMPLATES: [(&str, &str); 29] = embedded![
    "layout.html",
    "macros.html",
    "account.html",
    "apps.html",
    "ask.html",
    "consent.html",
    "form.html",
    "form_post.html",
    "home.html",
    "invitation.html",
    "login.html",
    "not_for_user.html",
    "refused.html",
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

/// The templates, texts and assets of pages.
#[derive(Debug)]
pub struct Pages {
    /// The templates for each language, with a function for its texts.
    templates: Vec<(String, Environment<'static>)>,
    texts: Arc<Texts>,
    style: Asset,
    strength: Asset,
    send: Asset,
    logo: Option<Asset>,
}

impl Pages {
    /// Reads the built-in files, the files that replace them in the folder of the settings, and the colours.
    ///
    /// # Errors
    ///
    /// If a file cannot be used. The error names it.
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
            send: Asset::new("text/javascript; charset=utf-8", SEND),
            logo,
        })
    }
}

/// The file in a folder that replaces a built-in one, if there is one.
fn own(folder: Option<&Path>, name: &str) -> Result<Option<String>, ConfigError> {
    let Some(folder) = folder else { return Ok(None) };
    match std::fs::read_to_string(folder.join(name)) {
        Ok(source) => Ok(Some(source)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(refused(name, &error.to_string())),
    }
}

/// Refuses a folder that contains a file with an unknown name. Otherwise the built-in page would stay, and nobody would
/// notice the mistyped name.
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
                    "no page has this name. Use one of {names}, style.css, extra.css, or a language such as de.ftl"
                );
                return Err(refused(&name, &fault));
            }
        }
    }
    Ok(())
}

/// Refuses a template that extends an unknown template, because its page would always fail. Warns of a template that
/// uses an unknown text, because its page may fail.
fn check_names(name: &str, source: &str, texts: &Texts) -> Result<(), ConfigError> {
    let named = |word: &str| -> Vec<String> {
        let rests = source.split(word).skip(1);
        rests.filter_map(|rest| rest.split('"').next().map(ToOwned::to_owned)).collect()
    };
    let is_known = |name: &&String| TEMPLATES.iter().any(|(known, _)| known == name);
    if let Some(unknown) = named("{% extends \"").iter().find(|name| !is_known(name)) {
        return Err(refused(name, &format!("there is no template {unknown}")));
    }
    for text in named(" text(\"").iter().filter(|text| !text.ends_with('-') && !texts.have(text)) {
        tracing::warn!(template = name, text, "PAGE_TEMPLATES: there is no text with this name");
    }
    Ok(())
}

fn refused(name: &str, fault: &str) -> ConfigError {
    ConfigError::new(&format!("PAGE_TEMPLATES: {name}: {fault}"))
}

/// Implements `text("name", value=…)` for templates: the text of this name in the page's language.
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
    // An action of another release has no text here, so its name is shown.
    let unknown = || name.strip_prefix("act-").map(ToOwned::to_owned);
    texts.say(language, name, &given).or_else(unknown).ok_or_else(|| {
        minijinja::Error::new(ErrorKind::InvalidOperation, format!("there is no text {name}"))
    })
}

/// Returns true if a browser sent the request, so that a page is the right answer. Browsers prefer HTML in `Accept`.
pub(crate) fn is_wanted(request: &Request) -> bool {
    let accepted = request.header(header::ACCEPT).unwrap_or_default();
    let mut first = accepted.split(',').next().unwrap_or_default().split(';').map(str::trim);
    let is_html = first.next().is_some_and(|kind| kind.eq_ignore_ascii_case("text/html"));
    let weight = |parameter: &str| parameter.strip_prefix("q=")?.parse().ok();
    is_html && first.find_map(weight) != Some(0.0)
}

/// Formats an instant, given in seconds since the epoch.
fn time(seconds: i64) -> String {
    let instant = DateTime::from_timestamp(seconds, 0);
    instant.map_or_else(String::new, |at| at.format("%Y-%m-%d %H:%M UTC").to_string())
}

/// Formats the day of an instant, given in seconds since the epoch.
fn day(seconds: i64) -> String {
    let instant = DateTime::from_timestamp(seconds, 0);
    instant.map_or_else(String::new, |at| at.format("%Y-%m-%d").to_string())
}

/// The frame of a page: its reader, language and address, which every template shows.
#[derive(Clone)]
pub(crate) struct Frame {
    /// The application.
    pub(crate) app: App,
    language: String,
    /// The relative path from the page to the first page, because `PUBLIC_URL` can have a path.
    root: String,
    /// The path and query of the page, relative to the first page.
    place: String,
    /// The user who reads the page.
    signed_in: Value,
    /// The CSRF value that forms repeat.
    csrf: String,
    /// The flash message, and the section of the page that shows it.
    said: Value,
    /// The source expression of the place that the forms of the page lead to in the end, if the page is part of a flow.
    target: Option<String>,
}

impl Frame {
    pub(crate) fn of(request: &Request) -> Result<Self> {
        Self::at(request.data::<App>().ok_or(Code::InternalServerError)?, request)
    }

    /// Makes the frame of a request that does not carry the application yet.
    pub(crate) fn at(app: &App, request: &Request) -> Result<Self> {
        let accepted = request.header(header::ACCEPT_LANGUAGE).unwrap_or_default();
        let language = pages_of(app)?.texts.chosen(accepted).to_owned();
        let slash = usize::from(request.extensions().get::<HadSlash>().is_some());
        let depth = request.uri().path().matches('/').count().clamp(1, 16) - 1 + slash;
        let root = if depth == 0 { "./".to_owned() } else { "../".repeat(depth) };
        // A page that shows a refusal may not know who is signed in.
        let (signed_in, csrf) = (Value::from(()), String::new());
        let place = request.uri().path_and_query().map_or("/", |place| place.as_str());
        let place = place.trim_start_matches('/').to_owned();
        let said = context! {};
        let target = None;
        Ok(Self { app: app.clone(), language, root, place, signed_in, csrf, said, target })
    }

    /// Sets the user who reads the page.
    pub(super) fn read_by(&mut self, signed_in: Value) {
        self.signed_in = signed_in;
    }

    /// Sets the CSRF value that forms repeat.
    pub(super) fn repeat_in_forms(&mut self, csrf: String) {
        self.csrf = csrf;
    }

    /// Shows the text of this name as flash message in a section of the page.
    pub(super) fn flash(&mut self, section: &str, name: &str) {
        self.said = context! { done => self.text(name), section };
    }

    /// Returns true if the user who reads the page sees the administration.
    pub(crate) fn is_read_by_admin(&self) -> bool {
        self.signed_in.get_attr("admin").is_ok_and(|admin| admin.is_true())
    }

    /// Makes the page part of a flow. Its head is bare, its forms can lead to the place where the flow ends, and it
    /// is in the language that the application asks for.
    pub(crate) fn join(&mut self, flow: &Flow) {
        self.lead_to(flow.target.clone());
        if let Some(languages) = &flow.languages {
            self.speak(languages);
        }
    }

    /// Lets the forms of the page lead to this place too. It is a source expression of Content-Security-Policy.
    pub(crate) fn lead_to(&mut self, target: String) {
        self.target = Some(target);
    }

    /// Chooses the first of these languages that the pages have. The tags are separated by spaces.
    pub(crate) fn speak(&mut self, languages: &str) {
        let Ok(pages) = pages_of(&self.app) else { return };
        let known: Vec<_> = pages.texts.languages().map(ToOwned::to_owned).collect();
        let base = |tag: &str| tag.split('-').next().unwrap_or_default().to_ascii_lowercase();
        let asked =
            languages.split(' ').find_map(|tag| known.iter().find(|own| base(own) == base(tag)));
        if let Some(language) = asked {
            self.language.clone_from(language);
        }
    }

    /// The path and query of the page, relative to the first page.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// The text of this name in the reader's language.
    pub(crate) fn text(&self, name: &str) -> String {
        self.text_with(name, &[])
    }

    /// The text of this name in the reader's language, with values.
    pub(crate) fn text_with(&self, name: &str, values: &[(&str, FluentValue<'_>)]) -> String {
        self.found(name, values).unwrap_or_else(|| name.to_owned())
    }

    fn found(&self, name: &str, values: &[(&str, FluentValue<'_>)]) -> Option<String> {
        self.app.pages().ok()?.texts.say(&self.language, name, values)
    }

    /// The reason of a refusal in the reader's language. It never contains the private cause.
    pub(crate) fn message(&self, error: &Error) -> String {
        let messages = error.messages().iter().filter(|message| !message.name.is_empty());
        let sentences: Vec<_> = messages
            .map(|message| {
                let number = message.number.and_then(|number| u32::try_from(number).ok());
                let values: Vec<_> = number
                    .map(|number| ("number", FluentValue::from(number)))
                    .into_iter()
                    .collect();
                self.found(&message.name, &values).unwrap_or_else(|| message.sentence.clone())
            })
            .collect();
        if !sentences.is_empty() {
            return sentences.join(" ");
        }
        let minutes = error.wait().map_or(1, |wait| wait.as_secs().div_ceil(60));
        let minutes = u32::try_from(minutes).unwrap_or(u32::MAX);
        self.text_with(&text_name(error.code()), &[("minutes", minutes.into())])
    }

    /// Renders a page from a template. If that fails, the result is a page with the error.
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
        let pages = pages_of(&self.app)?;
        let settings = &self.app.config.pages;
        let contact = settings.brand_contact.as_ref();
        let frame = context! {
            language => &self.language,
            failed => status.is_client_error() || status.is_server_error(),
            // Safe, because it contains only dots and slashes.
            root => Value::from_safe_string(self.root.clone()),
            signed_in => &self.signed_in,
            csrf => &self.csrf,
            bare => self.target.is_some(),
            brand => context! {
                name => &settings.brand_name,
                initial => brand::initial(&settings.brand_name),
                logo => pages.logo.is_some(),
                contact => contact.map(|contact| context! { link => &contact.link, name => &contact.name }),
            },
        };
        // If the user chooses a password, a script shows how good it is. Another one sends a form that has no question.
        let is_set = |name: &str| values.get_attr(name).is_ok_and(|value| value.is_true());
        let scripts = is_set("strength") || is_set("sends_itself");
        let scripts = if scripts { "script-src 'self'; " } else { "" };
        let (target, referrer) = match &self.target {
            Some(target) => (format!(" {target}"), "strict-origin"),
            // Without a referrer, browsers would not show that a form comes from our own page.
            None => (String::new(), "same-origin"),
        };
        // Most pages do not show the result of a form.
        let missing = context! { done => "", fault => "", faulty => "", field => "", section => "", onward => "" };
        let values = context! { ..frame, ..values, ..self.said.clone(), ..missing };
        let known = pages.templates.iter().find(|(tag, _)| *tag == self.language);
        let (_, environment) = known.ok_or(Code::InternalServerError)?;
        let html = environment
            .get_template(template)
            .and_then(|template| template.render(values))
            // The error must not contain the values of the template, because they may include a secret.
            .map_err(|error| Error::because(Code::InternalServerError, format!("{error}")))?;
        let images = if pages.logo.is_some() { "img-src 'self'; " } else { "" };
        // Pages load only files of this server, and their forms are sent only to this server. In a flow, the answer to
        // a form can redirect to the application.
        let policy = format!(
            "default-src 'none'; style-src 'self'; {images}{scripts}form-action 'self'{target}; \
             base-uri 'none'; frame-ancestors 'none'"
        );
        Ok(Response::builder()
            .status(status)
            .content_type("text/html; charset=utf-8")
            .header(header::CONTENT_SECURITY_POLICY, policy)
            .header(header::CONTENT_LANGUAGE, &self.language)
            .header(header::VARY, "Accept-Language")
            .header(header::REFERRER_POLICY, referrer)
            .body(html))
    }

    /// Renders a page with a form. If the form was refused, the page shows why, beside the field if the error is about
    /// one.
    pub(crate) fn form(&self, template: &str, values: Value, error: Option<&Error>) -> Response {
        let Some(error) = error else { return self.page(StatusCode::OK, template, values) };
        let (head, refusal) =
            (Head::of(error), context! { field => field_of(error), fault => self.message(error) });
        head.onto(self.page(head.status(), template, context! { ..values, ..refusal }))
    }

    /// Renders a page with a title and a text, and a link to `more` unless that is empty.
    pub(crate) fn said(&self, status: StatusCode, title: &str, text: &str, more: &str) -> Response {
        self.page(status, "said.html", context! { title, said => text, fault => false, more })
    }

    /// Renders a page that shows a refusal, with its status and the time to wait.
    pub(crate) fn refusal(&self, title: &str, error: Error) -> Response {
        let text = self.message(&error);
        self.refusal_with(title, &text, "", &error)
    }

    /// Renders a page that shows a refusal with its own text, and a link to `more` unless that is empty.
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

    /// Redirects to another page of this server.
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

fn pages_of(app: &App) -> Result<&Pages> {
    app.pages().map_err(|fault| Error::because(Code::InternalServerError, fault))
}

/// The routes of the files that pages load.
pub(crate) fn pages() -> Vec<PageRoute> {
    vec![
        PageRoute::get("/style.css", serve_style),
        PageRoute::get("/strength.js", serve_strength),
        PageRoute::get("/send.js", serve_send),
        PageRoute::get("/logo", serve_logo),
    ]
}

#[handler]
fn serve_style(request: &Request, frame: Frame) -> Result<Response> {
    Ok(pages_of(&frame.app)?.style.answer(request))
}

#[handler]
fn serve_strength(request: &Request, frame: Frame) -> Result<Response> {
    Ok(pages_of(&frame.app)?.strength.answer(request))
}

#[handler]
fn serve_send(request: &Request, frame: Frame) -> Result<Response> {
    Ok(pages_of(&frame.app)?.send.answer(request))
}

#[handler]
fn serve_logo(request: &Request, frame: Frame) -> poem::Result<Response> {
    let logo = pages_of(&frame.app)?.logo.as_ref().ok_or(NotFoundError)?;
    Ok(logo.answer(request))
}
