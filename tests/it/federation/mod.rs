//! Other providers: people sign in with an account that they have there, and attackers try the same.

mod again;
mod callback;
mod commands;
mod ends;
mod fastapi;
pub(crate) mod guide;
mod hijacking;
mod linking;
mod offline;
mod outage;
mod person;
mod policy;
mod presets;
mod races;
mod refusals;
mod tabs;

use std::process::Output;

use reqwest::Url;
use serde_json::{Value, json};

use crate::support::upstream::Upstream;
use crate::support::{Answer, Browser, Server, Setup};

/// The address of the person who is signed in at the provider.
pub(crate) const ADA: &str = "ada@corp.example";

/// The path, relative to the folder of the server, of its `UPSTREAMS_FILE`.
const FILE: &str = "upstreams.yaml";

/// The settings of a server with these providers.
pub(crate) fn with(entries: &[Value]) -> Setup {
    Server::setup().file(FILE, json!(entries)).set("UPSTREAMS_FILE", FILE)
}

/// A provider, and a server whose entry for it has other members.
pub(crate) async fn corp(changes: &Value) -> (Upstream, Server) {
    let upstream = Upstream::start().await;
    let server = with(&[upstream.entry(changes)]).start().await;
    upstream.use_clock_of(&server);
    (upstream, server)
}

/// Runs a command with the settings of a server.
pub(crate) fn tessera(server: &Server, arguments: &[&str]) -> Output {
    server.beside().env("UPSTREAMS_FILE", FILE).args(arguments).output().unwrap()
}

/// The path and the query of a URL.
pub(crate) fn path_of(url: &str) -> String {
    let url = Url::parse("http://host").unwrap().join(url).unwrap();
    let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
    format!("{}{query}", url.path())
}

/// A parameter of a URL.
pub(crate) fn parameter(url: &str, name: &str) -> Option<String> {
    let url = Url::parse("http://host").unwrap().join(url).unwrap();
    let mut found = url.query_pairs().filter(|(known, _)| known == name);
    let value = found.next().map(|(_, value)| value.into_owned());
    assert!(found.next().is_none(), "two {name} in {url}");
    value
}

impl Browser<'_> {
    /// Begins a sign-in at a provider. Returns the place at the provider.
    pub(crate) async fn leave(&mut self, name: &str) -> String {
        let answer = self.open(&format!("/login/with/{name}")).await;
        answer.expect_status(303).header("location")
    }

    /// Signs in at the provider `corp`, and returns the answer to its callback.
    pub(crate) async fn sign_in_with(&mut self, upstream: &Upstream) -> Answer {
        self.sign_in_at("corp", upstream).await
    }

    pub(crate) async fn sign_in_at(&mut self, name: &str, upstream: &Upstream) -> Answer {
        let place = self.leave(name).await;
        self.open(&path_of(&upstream.come_back(&place))).await
    }

    /// Asserts that somebody is signed in, and returns their account page.
    #[track_caller]
    pub(crate) fn account(&mut self) -> impl Future<Output = Answer> {
        let place = std::panic::Location::caller();
        async move {
            let page = self.open("/account").await;
            assert_eq!(page.status, 200, "nobody is signed in: {place}");
            page
        }
    }

    /// Opens a page of the account.
    pub(crate) async fn section(&mut self, name: &str) -> Answer {
        self.open(&format!("/account/{name}")).await.expect_status(200)
    }

    pub(crate) async fn is_signed_in(&mut self) -> bool {
        self.open("/account").await.status == 200
    }
}

/// The reference on the page of a refusal.
#[track_caller]
pub(crate) fn reference(page: &Answer) -> String {
    assert!(page.status >= 400, "{} {}", page.status, page.header("location"));
    page.header("x-request-id")
}

/// The name of the check that a refusal is about, as operators read it. It is stored a few seconds after the answer.
pub(crate) async fn check_of(server: &Server, page: &Answer) -> String {
    check_with(server, &reference(page)).await
}

/// The name of the check that a refusal with a reference is about.
pub(crate) async fn check_with(server: &Server, reference: &str) -> String {
    let sql = format!("select check_name from upstream_refusal where reference = '{reference}'");
    let found = async || server.database.column::<String>(&sql).await.pop();
    crate::support::awaited("the refusal is stored", found).await
}

/// The ids of all users with an address.
pub(crate) async fn ids_of(server: &Server, email: &str) -> Vec<String> {
    let sql = format!("select cast(id as text) from \"user\" where email = '{email}'");
    server.database.column(&sql).await
}

impl Browser<'_> {
    /// Links an account at a provider by hand, as far as this server lets the user go. Returns the last answer.
    pub(crate) async fn link(&mut self, name: &str, upstream: &Upstream) -> Answer {
        let answer = self.open(&format!("/account/link/{name}")).await;
        let place = answer.header("location");
        if !place.starts_with(&upstream.issuer()) {
            return answer;
        }
        let asked = self.open(&path_of(&upstream.come_back(&place))).await;
        if asked.status != 200 {
            return asked;
        }
        let (action, hidden) = person::form_of(&asked);
        let fields: Vec<_> = hidden.iter().map(|(name, value)| (&**name, &**value)).collect();
        self.press(&action, &fields).await
    }
}
