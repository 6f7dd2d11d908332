//! A browser without scripts: it keeps cookies, reads forms and submits them.

use std::collections::BTreeMap;

use super::{Answer, Server};

pub(crate) struct Browser<'a> {
    server: &'a Server,
    pub(crate) cookies: BTreeMap<String, String>,
    /// The CSRF value in the form of the last page.
    pub(crate) csrf: String,
    /// The preferred language of the user, as in `Accept-Language`.
    pub(crate) language: String,
}

impl<'a> Browser<'a> {
    pub(crate) fn of(server: &'a Server) -> Self {
        Self { server, cookies: BTreeMap::new(), csrf: String::new(), language: "en".to_owned() }
    }

    /// Opens a page. Follows no redirect.
    pub(crate) async fn open(&mut self, path: &str) -> Answer {
        let request = self.server.get(path).header("cookie", &self.jar());
        let request = request.header("accept-language", &self.language);
        let answer = request.send().await;
        self.remember(&answer);
        answer
    }

    /// Submits a form with the CSRF value of its page. Follows no redirect.
    pub(crate) async fn press(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let csrf = self.csrf.clone();
        let fields: Vec<_> = fields.iter().copied().chain([("csrf", csrf.as_str())]).collect();
        let request = self.server.post(path).header("cookie", &self.jar()).form(&fields);
        let request = request.header("accept-language", &self.language);
        let answer = request.send().await;
        self.remember(&answer);
        answer
    }

    /// Submits a form that succeeds, and opens the page that it redirects to.
    pub(crate) async fn press_and_follow(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let led = self.press(path, fields).await.expect_status(303);
        assert!(
            !led.header("location").contains("login?"),
            "signed out: {}",
            led.header("location")
        );
        let page = reqwest::Url::parse(&self.server.url(path)).unwrap();
        let place = page.join(&led.header("location")).unwrap();
        let query = place.query().map(|query| format!("?{query}")).unwrap_or_default();
        self.open(&format!("{}{query}", place.path())).await.expect_status(200)
    }

    /// Signs in on the page.
    pub(crate) async fn sign_in(&mut self, email: &str, password: &str) {
        self.open("/login").await.expect_status(200);
        let answer = self.press("/login", &[("email", email), ("password", password)]).await;
        assert_eq!(answer.expect_status(303).header("location"), "./");
    }

    /// Returns the value of the session cookie.
    pub(crate) fn id(&self) -> String {
        self.cookies["tessera-browser"].clone()
    }

    fn jar(&self) -> String {
        let pairs = self.cookies.iter().map(|(name, value)| format!("{name}={value}"));
        pairs.collect::<Vec<_>>().join("; ")
    }

    fn remember(&mut self, answer: &Answer) {
        for cookie in answer.headers.get_all("set-cookie") {
            let cookie = cookie.to_str().unwrap();
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        if let Some((_, rest)) = answer.body.split_once("name=\"csrf\" value=\"") {
            self.csrf = rest.split('"').next().unwrap().to_owned();
        }
    }
}
