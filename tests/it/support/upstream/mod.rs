//! A provider that can forge: it answers like an OpenID provider and like GitHub, and each forgery makes one thing
//! wrong. It runs in the process of the test.

mod key;
mod wire;

pub(crate) use key::Key;
pub(crate) use wire::Instead;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use reqwest::Url;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{Clock, Server, free_port};
use wire::Request;

/// The id of Tessera at the provider.
pub(crate) const CLIENT: &str = "tessera";

/// The secret of Tessera at the provider. It has characters that are encoded in a header and in a form.
pub(crate) const CLIENT_SECRET: &str = "a-secret/of+tessera%41:at~its&provider=5f1d";

/// The beginning of every token that the provider gives. No answer, log or table may contain it.
pub(crate) const TOKEN_PREFIX: &str = "upstream-token-";

/// Changes to the members of an object: a new value, or `None` to leave the member out.
pub(crate) type Changes = Vec<(&'static str, Option<Value>)>;

/// One thing that is wrong. The default is that nothing is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wrong {
    /// Claims of the ID token.
    pub(crate) claims: Changes,
    /// Members of the header of the ID token.
    pub(crate) header: Changes,
    /// The key that signs the ID token.
    pub(crate) key: Key,
    /// Members of the answer of the token endpoint.
    pub(crate) tokens: Changes,
    /// Members of the answer of the userinfo endpoint.
    pub(crate) userinfo: Changes,
    /// Members of the discovery document.
    pub(crate) discovery: Changes,
    /// Parameters with which the browser comes back.
    pub(crate) reply: Vec<(&'static str, Option<String>)>,
    /// Accepts a code more than once, as careless providers do.
    pub(crate) keeps_codes: bool,
    /// Paths that answer something else.
    pub(crate) instead: Vec<(&'static str, Instead)>,
    /// Paths that answer late.
    pub(crate) late: Vec<(&'static str, Duration)>,
}

/// A request that the provider received.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) body: String,
}

/// A code that was given to a browser.
#[derive(Clone)]
struct Code {
    nonce: Option<String>,
    challenge: Option<String>,
    redirect: String,
}

struct State {
    person: Value,
    wrong: Wrong,
    kid: String,
    codes: HashMap<String, Code>,
    tokens: Vec<String>,
    seen: Vec<Seen>,
    emails: Value,
    clock: Option<Clock>,
    /// The issuers in the discovery document and in tokens, if they are not the URL of the provider.
    issuers: Option<(String, String)>,
}

/// The provider. It stops with its last handle.
#[derive(Clone)]
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
    /// Ends the task that accepts connections.
    _alive: Arc<tokio::sync::watch::Sender<()>>,
}

/// The true time, in seconds since the epoch.
#[expect(clippy::disallowed_methods, reason = "a provider has a clock of its own")]
pub(crate) fn now() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since_epoch.as_secs().cast_signed()
}

/// A text that appears once in a test.
fn unique() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    URL_SAFE_NO_PAD.encode(digest(&SHA256, format!("{count} {}", now()).as_bytes()))
}

fn applied(object: &mut Value, changes: &Changes) {
    for (name, value) in changes {
        match value {
            Some(value) => object[*name] = value.clone(),
            None => drop(object.as_object_mut().unwrap().remove(*name)),
        }
    }
}

fn object(pairs: &[(String, String)]) -> HashMap<&str, &str> {
    pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

fn form(text: &str) -> Vec<(String, String)> {
    let url = Url::parse(&format!("http://form/?{text}")).unwrap();
    url.query_pairs().into_owned().collect()
}

/// Returns true for the header of the client. Its id and secret are encoded as in a form (RFC 6749, section 2.3.1).
fn is_client(header: &str) -> bool {
    let sent = header.strip_prefix("Basic ").and_then(|text| STANDARD.decode(text).ok());
    let sent = sent.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
    let (id, secret) = sent.split_once(':').unwrap_or_default();
    form(&format!("{id}={secret}")) == [(CLIENT.to_owned(), CLIENT_SECRET.to_owned())]
}

impl Upstream {
    /// Starts a provider with a person who is signed in there.
    pub(crate) async fn start() -> Self {
        Self::start_on(free_port()).await
    }

    pub(crate) async fn start_on(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = State {
            person: json!({
                "sub": "248289761001", "email": "ada@corp.example", "email_verified": true,
                "given_name": "Ada", "family_name": "Lovelace", "name": "Ada Lovelace",
            }),
            wrong: Wrong::default(),
            kid: "first".to_owned(),
            codes: HashMap::new(),
            tokens: Vec::new(),
            seen: Vec::new(),
            emails: json!([]),
            clock: None,
            issuers: None,
        };
        let (alive, mut ended) = tokio::sync::watch::channel(());
        let upstream =
            Self { address, state: Arc::new(Mutex::new(state)), _alive: Arc::new(alive) };
        let (state, url) = (Arc::downgrade(&upstream.state), upstream.issuer());
        tokio::spawn(async move {
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    _ = ended.changed() => return,
                };
                let Ok((stream, _)) = accepted else { return };
                let (state, url) = (state.clone(), url.clone());
                tokio::spawn(wire::serve(stream, move |request| {
                    let state = state.upgrade()?;
                    let mut state = state.lock().unwrap();
                    let late = state.wrong.late.iter().find(|(path, _)| *path == request.path);
                    let late = late.map_or(Duration::ZERO, |(_, late)| *late);
                    Some((late, state.answer(&url, &request)))
                }));
            }
        });
        upstream
    }

    /// The URL of the provider, which is its issuer.
    pub(crate) fn issuer(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers like Entra: below a path with the tenant, and perhaps with a pattern for an issuer.
    pub(crate) fn be_tenant(&self, tenant: &str, in_discovery: &str) {
        let issuer = |tenant: &str| format!("{}/{tenant}/v2.0", self.issuer());
        self.state.lock().unwrap().issuers = Some((issuer(in_discovery), issuer(tenant)));
    }

    /// The entry of this provider for `UPSTREAMS_FILE`, with other members. A member that is null is left out.
    pub(crate) fn entry(&self, changes: &Value) -> Value {
        let mut entry = json!({
            "preset": "oidc", "name": "corp", "issuer": self.issuer(), "client_id": CLIENT,
            "client_secret": CLIENT_SECRET, "domains": ["corp.example"], "register": true,
            "private": true,
        });
        for (name, value) in changes.as_object().unwrap() {
            entry[name] = value.clone();
        }
        entry.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        entry
    }

    /// Changes the person who is signed in at the provider.
    pub(crate) fn person(&self, changes: &Value) {
        let mut state = self.state.lock().unwrap();
        for (name, value) in changes.as_object().unwrap() {
            state.person[name] = value.clone();
        }
        state.person.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    }

    /// The answer of GitHub's `/user/emails`.
    pub(crate) fn emails(&self, emails: Value) {
        self.state.lock().unwrap().emails = emails;
    }

    /// Makes something wrong in all answers from now on.
    pub(crate) fn make(&self, wrong: Wrong) {
        self.state.lock().unwrap().wrong = wrong;
    }

    /// Signs with a key of another name from now on.
    pub(crate) fn rotate(&self, kid: &str) {
        self.state.lock().unwrap().kid = kid.to_owned();
    }

    /// Uses the clock of a server from now on.
    pub(crate) fn use_clock_of(&self, server: &Server) {
        self.state.lock().unwrap().clock = Some(server.clock.clone());
    }

    /// The requests that came for a path so far.
    pub(crate) fn seen(&self, path: &str) -> Vec<Seen> {
        let state = self.state.lock().unwrap();
        state.seen.iter().filter(|seen| seen.path == path).cloned().collect()
    }

    /// Every token that the provider gave.
    pub(crate) fn tokens(&self) -> Vec<String> {
        self.state.lock().unwrap().tokens.clone()
    }

    /// Does what the provider's page does with a person who is signed in: gives the place that the browser goes to.
    pub(crate) fn come_back(&self, url: &str) -> String {
        let mut state = self.state.lock().unwrap();
        let place = Url::parse(url).unwrap();
        assert_eq!(
            (place.host_str(), place.port(), place.path()),
            (Some("127.0.0.1"), Some(self.address.port()), "/authorize"),
            "{url}"
        );
        let pairs: Vec<_> = place.query_pairs().into_owned().collect();
        state.come_back(&self.issuer(), &pairs)
    }

    /// A logout token of this provider (OpenID Connect Back-Channel Logout 1.0) with changes to its claims.
    pub(crate) fn logout_token(&self, wrong: &Wrong) -> String {
        let state = self.state.lock().unwrap();
        let mut claims = json!({
            "iss": self.issuer(), "aud": CLIENT, "iat": state.now(), "exp": state.now() + 120,
            "jti": unique(), "sub": state.person["sub"],
            "events": { "http://schemas.openid.net/event/backchannel-logout": {} },
        });
        applied(&mut claims, &wrong.claims);
        let mut header =
            json!({ "alg": wrong.key.algorithm(), "typ": "logout+jwt", "kid": state.kid });
        applied(&mut header, &wrong.header);
        wrong.key.sign(&header, &claims)
    }
}

impl State {
    fn now(&self) -> i64 {
        now() + self.clock.as_ref().map_or(0, Clock::ahead) / 1000
    }

    fn answer(&mut self, url: &str, request: &Request) -> Instead {
        let path = request.path.split_once("/v2.0").map_or(&*request.path, |(_, path)| path);
        self.seen.push(Seen { path: path.to_owned(), body: request.body.clone() });
        let instead = self.wrong.instead.iter().find(|(known, _)| *known == path);
        if let Some((_, instead)) = instead {
            return instead.clone();
        }
        match path {
            "/.well-known/openid-configuration" => self.discovery(url),
            "/jwks" => Instead::Json(200, json!({ "keys": Key::published(&self.kid) })),
            "/authorize" => {
                let back = self.come_back(url, &form(&request.query));
                Instead::Redirect(back)
            }
            "/token" => self.token(url, request),
            "/userinfo" | "/user" | "/user/emails" => self.resource(request),
            _ => Instead::Json(404, json!({ "error": "no such path" })),
        }
    }

    fn discovery(&self, url: &str) -> Instead {
        let mut document = json!({
            "issuer": self.issuers.as_ref().map_or(url, |(issuer, _)| issuer),
            "authorization_endpoint": format!("{url}/authorize"),
            "token_endpoint": format!("{url}/token"),
            "userinfo_endpoint": format!("{url}/userinfo"),
            "jwks_uri": format!("{url}/jwks"),
            "end_session_endpoint": format!("{url}/end"),
            "response_types_supported": ["code"],
            "response_modes_supported": ["query", "form_post"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256", "ES256"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "authorization_response_iss_parameter_supported": true,
            "backchannel_logout_supported": true,
            "backchannel_logout_session_supported": true,
        });
        applied(&mut document, &self.wrong.discovery);
        Instead::Json(200, document)
    }

    fn come_back(&mut self, url: &str, pairs: &[(String, String)]) -> String {
        let asked = object(pairs);
        let issuer = self.issuers.as_ref().map_or(url, |(_, issuer)| issuer).to_owned();
        let code = format!("code-{}", unique());
        let kept = Code {
            nonce: asked.get("nonce").map(|nonce| (*nonce).to_owned()),
            challenge: asked.get("code_challenge").map(|challenge| (*challenge).to_owned()),
            redirect: asked["redirect_uri"].to_owned(),
        };
        self.codes.insert(code.clone(), kept);
        let mut reply = vec![
            ("code", Some(code)),
            ("state", asked.get("state").map(|state| (*state).to_owned())),
            ("iss", Some(issuer)),
        ];
        for (name, value) in &self.wrong.reply {
            reply.retain(|(known, _)| known != name);
            reply.push((name, value.clone()));
        }
        let mut url = Url::parse(asked["redirect_uri"]).unwrap();
        for (name, value) in reply {
            if let Some(value) = value {
                url.query_pairs_mut().append_pair(name, &value);
            }
        }
        url.to_string()
    }

    /// The token endpoint. It compares all that a careful provider compares.
    fn token(&mut self, url: &str, request: &Request) -> Instead {
        let pairs = form(&request.body);
        let sent = object(&pairs);
        let by_header = request.header("authorization").is_some_and(is_client);
        let by_form = (sent.get("client_id"), sent.get("client_secret"))
            == (Some(&CLIENT), Some(&CLIENT_SECRET));
        if !by_header && !by_form {
            return Instead::Json(401, json!({ "error": "invalid_client" }));
        }
        let sent_code = sent.get("code").copied().unwrap_or_default();
        let code = match self.wrong.keeps_codes {
            true => self.codes.get(sent_code).cloned(),
            false => self.codes.remove(sent_code),
        };
        let verifier = sent.get("code_verifier").copied().unwrap_or_default();
        let proof = URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()));
        let Some(code) = code.filter(|code| {
            Some(&code.redirect.as_str()) == sent.get("redirect_uri")
                && code.challenge.as_ref().is_none_or(|challenge| *challenge == proof)
        }) else {
            return Instead::Json(400, json!({ "error": "invalid_grant" }));
        };
        let access = format!("{TOKEN_PREFIX}{}", unique());
        let refresh = format!("{TOKEN_PREFIX}{}", unique());
        let id = self.id_token(url, &code, &access);
        self.tokens.extend([access.clone(), refresh.clone(), id.clone()]);
        let mut tokens = json!({
            "access_token": access, "token_type": "Bearer", "expires_in": 3600,
            "refresh_token": refresh, "id_token": id, "scope": "openid email profile",
        });
        applied(&mut tokens, &self.wrong.tokens);
        Instead::Json(200, tokens)
    }

    fn id_token(&self, url: &str, code: &Code, access: &str) -> String {
        let half = &digest(&SHA256, access.as_bytes()).as_ref()[..16].to_vec();
        let mut claims = self.person.clone();
        let (now, own) = (self.now(), &mut claims);
        own["iss"] = json!(self.issuers.as_ref().map_or(url, |(_, issuer)| issuer));
        own["aud"] = json!(CLIENT);
        own["iat"] = json!(now);
        own["exp"] = json!(now + 300);
        own["auth_time"] = json!(now);
        own["at_hash"] = json!(URL_SAFE_NO_PAD.encode(half));
        if let Some(nonce) = &code.nonce {
            own["nonce"] = json!(nonce);
        }
        applied(&mut claims, &self.wrong.claims);
        let mut header = json!({ "alg": self.wrong.key.algorithm(), "typ": "JWT", "kid": self.wrong.key.kid(&self.kid) });
        applied(&mut header, &self.wrong.header);
        self.wrong.key.sign(&header, &claims)
    }

    fn resource(&self, request: &Request) -> Instead {
        let bearer = request.header("authorization").unwrap_or_default();
        let token = bearer.split_once(' ').map(|(_, token)| token).unwrap_or_default();
        if !self.tokens.iter().any(|known| known == token) {
            return Instead::Json(401, json!({ "error": "invalid_token" }));
        }
        if request.path == "/user/emails" {
            return Instead::Json(200, self.emails.clone());
        }
        let mut person = self.person.clone();
        applied(&mut person, &self.wrong.userinfo);
        Instead::Json(200, person)
    }
}
