//! Pages: HTML from templates, in the reader's language. They work without scripts.

mod brand;
mod place;
mod template;
pub(crate) mod text;

use std::sync::Arc;

use fluent_bundle::FluentValue;
use minijinja::{Environment, Value, context};
use poem::error::NotFoundError;
use poem::http::{HeaderValue, StatusCode, header};
use poem::{FromRequest, Request, RequestBody, Response, handler};

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

/// The scripts of pages. Every page works without them.
const SCRIPTS: [&str; 4] = [
    // Shows how hard a password is to guess while the user types it.
    include_str!("page/strength.js"),
    // Sends a form that asks nothing.
    include_str!("page/send.js"),
    // Shows times in the reader's language and time zone.
    include_str!("page/times.js"),
    // Shows a password that was typed.
    include_str!("page/reveal.js"),
];

/// The templates, texts and assets of pages.
#[derive(Debug)]
pub struct Pages {
    /// The templates for each language, with a function for its texts.
    templates: Vec<(String, Environment<'static>)>,
    texts: Arc<Texts>,
    style: Asset,
    /// In the order of [`SCRIPTS`].
    scripts: [Asset; 4],
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
            template::check(folder)?;
        }
        let texts = Arc::new(Texts::read(folder)?);
        let templates = template::read(settings, &texts)?;
        let style = template::own(folder, "style.css")?.unwrap_or_else(|| STYLE.to_owned());
        let extra = template::own(folder, "extra.css")?.unwrap_or_default();
        let style = style + &brand::variables(settings.brand_color) + &extra;
        let logo = settings.brand_logo.as_deref().map(brand::logo).transpose()?;
        Ok(Self {
            templates,
            texts,
            style: Asset::new("text/css; charset=utf-8", style),
            scripts: SCRIPTS.map(|source| Asset::new("text/javascript; charset=utf-8", source)),
            logo,
        })
    }
}

/// Returns true if a browser sent the request, so that a page is the right answer. Browsers prefer HTML in `Accept`.
pub(crate) fn is_wanted(request: &Request) -> bool {
    let accepted = request.header(header::ACCEPT).unwrap_or_default();
    let mut first = accepted.split(',').next().unwrap_or_default().split(';').map(str::trim);
    let is_html = first.next().is_some_and(|kind| kind.eq_ignore_ascii_case("text/html"));
    let weight = |parameter: &str| parameter.strip_prefix("q=")?.parse().ok();
    is_html && first.find_map(weight) != Some(0.0)
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

    /// The language of the page, unless it is the one that readers get who ask for none.
    pub(crate) fn chosen_language(&self) -> Option<&str> {
        Some(self.language.as_str()).filter(|language| *language != text::EMBEDDED[0].0)
    }

    /// The languages that a form offers, with the one that was chosen before.
    pub(crate) fn languages(&self, chosen: Option<&str>) -> Vec<Value> {
        let pages = self.app.pages().ok();
        let known: Vec<_> = pages.iter().flat_map(|pages| pages.texts.named()).collect();
        let other = chosen.filter(|chosen| known.iter().all(|(tag, _)| tag != chosen));
        let other = other.map(|tag| (tag, tag.to_owned()));
        known.into_iter().chain(other).map(|(tag, name)| context! { tag, name }).collect()
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
        // Most pages do not show the result of a form.
        let missing = context! { done => "", fault => "", faulty => "", field => "", section => "", onward => "" };
        let policy = self.policy(pages.logo.is_some());
        let values = context! { ..frame, ..values, ..self.said.clone(), ..missing };
        let known = pages.templates.iter().find(|(tag, _)| *tag == self.language);
        let (_, environment) = known.ok_or(Code::InternalServerError)?;
        let html = environment
            .get_template(template)
            .and_then(|template| template.render(values))
            // The error must not contain the values of the template, because they may include a secret.
            .map_err(|error| Error::because(Code::InternalServerError, format!("{error}")))?;
        Ok(Response::builder()
            .status(status)
            .content_type("text/html; charset=utf-8")
            .header(header::CONTENT_SECURITY_POLICY, policy)
            .header(header::CONTENT_LANGUAGE, &self.language)
            .header(header::VARY, "Accept-Language")
            // Without a referrer, browsers would not show that a form comes from our own page.
            .header(
                header::REFERRER_POLICY,
                if self.target.is_some() { "strict-origin" } else { "same-origin" },
            )
            .body(html))
    }

    /// The Content-Security-Policy of a page. Pages load only files of this server, and their forms are sent only to this
    /// server. In a flow, the answer to a form can redirect to the application.
    fn policy(&self, has_logo: bool) -> String {
        let target = self.target.as_ref().map(|target| format!(" {target}")).unwrap_or_default();
        let images = if has_logo { "img-src 'self'; " } else { "" };
        format!(
            "default-src 'none'; style-src 'self'; {images}script-src 'self'; form-action 'self'{target}; \
             base-uri 'none'; frame-ancestors 'none'"
        )
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

fn pages_of(app: &App) -> Result<Arc<Pages>> {
    app.pages().map_err(|fault| Error::because(Code::InternalServerError, fault))
}

/// The routes of the files that pages load.
pub(crate) fn pages() -> Vec<PageRoute> {
    vec![
        PageRoute::get("/style.css", serve_style),
        PageRoute::get("/strength.js", serve_strength),
        PageRoute::get("/send.js", serve_send),
        PageRoute::get("/times.js", serve_times),
        PageRoute::get("/reveal.js", serve_reveal),
        PageRoute::get("/logo", serve_logo),
    ]
}

#[handler]
fn serve_style(request: &Request, frame: Frame) -> Result<Response> {
    Ok(pages_of(&frame.app)?.style.answer(request))
}

#[handler]
fn serve_strength(request: &Request, frame: Frame) -> Result<Response> {
    Ok(pages_of(&frame.app)?.scripts[0].answer(request))
}

#[handler]
fn serve_send(request: &Request, frame: Frame) -> Result<Response> {
    Ok(pages_of(&frame.app)?.scripts[1].answer(request))
}

#[handler]
fn serve_times(request: &Request, frame: Frame) -> Result<Response> {
    Ok(pages_of(&frame.app)?.scripts[2].answer(request))
}

#[handler]
fn serve_reveal(request: &Request, frame: Frame) -> Result<Response> {
    Ok(pages_of(&frame.app)?.scripts[3].answer(request))
}

#[handler]
fn serve_logo(request: &Request, frame: Frame) -> poem::Result<Response> {
    let pages = pages_of(&frame.app)?;
    Ok(pages.logo.as_ref().ok_or(NotFoundError)?.answer(request))
}
