//! Requests to other servers. Everything that another provider names is fetched here, and nowhere else.
//!
//! A provider can name any URL, and Tessera may stand beside servers that only it can reach. So a request goes only to
//! public addresses, with https, unless an operator said that the provider is private. The name is resolved here, and
//! the connection goes to the address that was checked. Redirects are not followed. The answer has a limit in time and
//! size.

mod address;

use std::error::Error as StdError;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, redirect};
use tokio::time::timeout;
use url::form_urlencoded::byte_serialize;
use url::{Host, Url};

use self::address::is_reachable;
use crate::app::App;
use crate::base::config::Secret;

/// The time for a request with its whole answer.
const WITHIN: Duration = Duration::from_secs(5);

/// The maximum size of an answer, in bytes.
pub(crate) const MAX_BODY: usize = 64 * 1024;

/// The places that a request can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Public addresses, with https.
    Public,
    /// Also private addresses and this machine, and http. Never the addresses at which clouds give secrets.
    Private,
}

impl Reach {
    /// The reach of a provider that is private, or is not.
    pub(crate) fn of(is_private: bool) -> Self {
        if is_private { Self::Private } else { Self::Public }
    }
}

/// The clients, made when they are first needed. Commands need none.
#[derive(Debug, Default)]
pub struct State {
    public: OnceLock<Client>,
    private: OnceLock<Client>,
}

/// The reason why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The URL has another scheme.
    NotHttps,
    /// The host has only addresses that this request cannot reach.
    NotPublic,
    /// The answer is a redirect.
    Redirects(u16),
    /// The answer is too large.
    TooLarge,
    /// The time is over.
    TooSlow,
    /// There is no connection. The text is for operators.
    Unreachable(String),
}

/// Writes what is wrong, for operators.
impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotHttps => formatter.write_str("the URL does not begin with https://"),
            Self::NotPublic => {
                formatter.write_str("the host has no address that the entry can reach")
            }
            Self::Redirects(status) => write!(formatter, "the answer is a redirect ({status})"),
            Self::TooLarge => write!(formatter, "the answer is larger than {MAX_BODY} bytes"),
            Self::TooSlow => {
                write!(formatter, "there was no answer in {} seconds", WITHIN.as_secs())
            }
            Self::Unreachable(cause) => write!(formatter, "no connection: {cause}"),
        }
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Fetched {
    /// The status.
    pub(crate) status: StatusCode,
    /// The body.
    pub(crate) body: Vec<u8>,
}

/// The credential of a request.
pub(crate) enum Proof<'a> {
    /// Nothing.
    None,
    /// A token.
    Bearer(&'a Secret),
    /// A name and a secret, each encoded as in a form (RFC 6749, section 2.3.1).
    Basic(&'a str, &'a Secret),
}

/// Gets a document.
///
/// # Errors
///
/// The reason why there is no answer.
pub(crate) async fn get(
    app: &App,
    reach: Reach,
    url: &Url,
    proof: Proof<'_>,
) -> Result<Fetched, Fault> {
    let request = request(app, reach, Method::GET, url)?;
    send(proved(request, proof)).await
}

/// Sends a form.
///
/// # Errors
///
/// The reason why there is no answer.
pub(crate) async fn post(
    app: &App,
    reach: Reach,
    url: &Url,
    form: &[(&str, &str)],
    proof: Proof<'_>,
) -> Result<Fetched, Fault> {
    let body = serde_urlencoded::to_string(form).map_err(unreachable)?;
    let request = request(app, reach, Method::POST, url)?
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(body);
    send(proved(request, proof)).await
}

/// Sends JSON to a server that an operator named. It can be on this machine.
///
/// # Errors
///
/// The reason why there is no answer.
pub(crate) async fn post_json(
    app: &App,
    url: &Url,
    headers: &[(String, Secret)],
    body: String,
) -> Result<Fetched, Fault> {
    let request = request(app, Reach::Private, Method::POST, url)?
        .header(CONTENT_TYPE, "application/json")
        .body(body);
    let request =
        headers.iter().fold(request, |request, (name, value)| {
            match HeaderValue::try_from(value.expose()) {
                Ok(mut value) => {
                    value.set_sensitive(true);
                    request.header(name, value)
                }
                Err(_) => request,
            }
        });
    send(request).await
}

fn unreachable(error: impl StdError) -> Fault {
    // The last cause says most, and the first ones repeat the URL.
    let mut cause: &dyn StdError = &error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    Fault::Unreachable(cause.to_string())
}

fn request(app: &App, reach: Reach, method: Method, url: &Url) -> Result<RequestBuilder, Fault> {
    if url.scheme() != "https" && !(reach == Reach::Private && url.scheme() == "http") {
        return Err(Fault::NotHttps);
    }
    // An address in a URL is not resolved, so it is checked here.
    let address = match url.host() {
        Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
        Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
        _ => None,
    };
    if address.is_some_and(|address| !is_reachable(address, reach)) {
        return Err(Fault::NotPublic);
    }
    let request = client(app, reach)?.request(method, url.clone());
    Ok(request.header(ACCEPT, "application/json").header(USER_AGENT, "tessera"))
}

fn proved(request: RequestBuilder, proof: Proof<'_>) -> RequestBuilder {
    match proof {
        Proof::None => request,
        Proof::Bearer(token) => {
            let value = HeaderValue::try_from(format!("Bearer {}", token.expose()));
            match value {
                Ok(mut value) => {
                    value.set_sensitive(true);
                    request.header(AUTHORIZATION, value)
                }
                Err(_) => request,
            }
        }
        Proof::Basic(name, secret) => {
            let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
            request.basic_auth(encoded(name), Some(encoded(secret.expose())))
        }
    }
}

fn client(app: &App, reach: Reach) -> Result<&Client, Fault> {
    let place = match reach {
        Reach::Public => &app.fetch.public,
        Reach::Private => &app.fetch.private,
    };
    if let Some(known) = place.get() {
        return Ok(known);
    }
    let made = Client::builder()
        .redirect(redirect::Policy::none())
        .no_proxy()
        .https_only(reach == Reach::Public)
        .dns_resolver(Arc::new(Checked(reach)))
        .build()
        .map_err(unreachable)?;
    Ok(place.get_or_init(|| made))
}

async fn send(request: RequestBuilder) -> Result<Fetched, Fault> {
    let answered = async {
        let response = request.send().await.map_err(|error| cause_of(&error))?;
        if response.status().is_redirection() {
            return Err(Fault::Redirects(response.status().as_u16()));
        }
        read(response).await
    };
    timeout(WITHIN, answered).await.unwrap_or(Err(Fault::TooSlow))
}

async fn read(mut response: Response) -> Result<Fetched, Fault> {
    let (status, mut body) = (response.status(), Vec::new());
    while let Some(chunk) = response.chunk().await.map_err(|error| cause_of(&error))? {
        if body.len() + chunk.len() > MAX_BODY {
            return Err(Fault::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Fetched { status, body })
}

fn cause_of(error: &reqwest::Error) -> Fault {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<NoAddress>() {
            return Fault::NotPublic;
        }
        cause = error.source();
    }
    unreachable(error)
}

/// The host has no address that the request can reach.
#[derive(Debug)]
struct NoAddress;

impl fmt::Display for NoAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        Fault::NotPublic.fmt(formatter)
    }
}

impl StdError for NoAddress {}

/// Resolves names to addresses that a request can reach.
struct Checked(Reach);

impl Resolve for Checked {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.0;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            // A name can have addresses of both kinds. Only those that can be reached are tried.
            let reachable: Vec<SocketAddr> =
                found.filter(|address| is_reachable(address.ip(), reach)).collect();
            match reachable.is_empty() {
                true => Err(NoAddress.into()),
                false => Ok(Box::new(reachable.into_iter()) as Addrs),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn a_name_leads_only_to_addresses_that_the_request_can_reach() {
        // A resolver returns an address for its own text, as for a name that has it.
        for (name, reach, expected) in [
            ("localhost", Reach::Private, true),
            ("localhost", Reach::Public, false),
            ("10.0.0.1", Reach::Private, true),
            ("10.0.0.1", Reach::Public, false),
            ("169.254.169.254", Reach::Private, false),
            ("100.100.100.200", Reach::Private, false),
            ("192.0.0.192", Reach::Private, false),
            ("fd00:ec2::254", Reach::Private, false),
            ("64:ff9b::a9fe:a9fe", Reach::Private, false),
            ("::ffff:169.254.169.254", Reach::Private, false),
        ] {
            let found = Checked(reach).resolve(name.parse().unwrap()).await;
            match found {
                Ok(found) => assert!(expected && found.count() > 0, "{name} {reach:?}"),
                Err(error) => {
                    assert!(!expected && error.is::<NoAddress>(), "{name} {reach:?}: {error}");
                }
            }
        }
    }
}
