//! Redirect URIs. A registered one is parsed, so that nobody registers one that browsers read differently. A presented
//! one is never parsed: it is compared with the registered ones byte for byte (RFC 9700, section 2.1).

use std::cmp::Reverse;
use std::fmt;

use strum::IntoStaticStr;
use url::Url;

/// The maximum length of a redirect URI, in bytes.
const MAX_LENGTH: usize = 512;

/// The hosts of this machine, as a URI contains them.
const LOOPBACK: [&str; 3] = ["127.0.0.1", "[::1]", "localhost"];

/// Parameters that an answer adds, so a registered URI must not have them.
const OF_ANSWERS: [&str; 6] = ["code", "state", "iss", "error", "error_description", "response"];

/// A registered redirect URI.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RedirectUri(String);

impl fmt::Display for RedirectUri {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The rules for the redirect URIs of a client.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// `true` if an application on a device can register schemes of its own.
    pub native: bool,
    /// `true` if an operator allows plain HTTP to other machines.
    pub insecure_http: bool,
}

/// The part in which a presented URI differs from a registered one. Parts that matter more come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Difference {
    /// Another host.
    Host,
    /// `http` and `https`, or another scheme.
    Scheme,
    /// Another port.
    Port,
    /// Another path.
    Path,
    /// Another query.
    Query,
    /// A slash at the end, which only one of them has.
    Slash,
    /// Upper and lower case.
    Case,
}

impl RedirectUri {
    /// Checks a URI that is to be registered.
    ///
    /// # Errors
    ///
    /// A sentence that shows the URI and says what it must be.
    pub fn parse(text: &str, rules: Rules) -> Result<Self, String> {
        match fault_of(text, rules) {
            Some(fault) => Err(format!("The redirect URI {text:?} {fault}")),
            None => Ok(Self(text.to_owned())),
        }
    }

    /// The URI as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns true if a presented URI is this one. With `any_port`, a loopback URI also matches with another port
    /// (RFC 8252, section 7.3), because an application on a device listens on a port that is free.
    pub fn matches(&self, presented: &str, any_port: bool) -> bool {
        let without_port = || Some((loopback(&self.0)?, loopback(presented)?));
        presented == self.0
            || any_port
                && without_port().is_some_and(|(registered, presented)| registered == presented)
    }

    /// Returns the first part in which a presented URI differs from this one, and `None` if they are equal.
    pub fn difference(&self, presented: &str) -> Option<Difference> {
        let (own, other) = (Parts::of(&self.0), Parts::of(presented));
        if self.0 == presented {
            return None;
        }
        if self.0.eq_ignore_ascii_case(presented) {
            return Some(Difference::Case);
        }
        if self.0.trim_end_matches('/') == presented.trim_end_matches('/') {
            return Some(Difference::Slash);
        }
        Some(match () {
            () if own.host != other.host => Difference::Host,
            () if own.scheme != other.scheme => Difference::Scheme,
            () if own.port != other.port => Difference::Port,
            () if own.path != other.path => Difference::Path,
            () => Difference::Query,
        })
    }
}

/// Returns the registered URI that is most like a presented one, with the first difference. Of several with the same
/// difference, it is the one that shares most of its beginning and its end, and of those the one that was registered
/// first.
pub fn nearest<'a>(
    registered: &'a [RedirectUri],
    presented: &str,
) -> Option<(&'a RedirectUri, Difference)> {
    let differences = registered.iter().filter_map(|uri| Some((uri, uri.difference(presented)?)));
    differences.min_by_key(|(uri, difference)| {
        let (begin, end) = shared(&uri.0, presented);
        Reverse((*difference, begin + end))
    })
}

/// The lengths of the beginning and of the end that two texts share, in bytes. They do not overlap.
fn shared(one: &str, other: &str) -> (usize, usize) {
    let same = |(one, other): &(char, char)| one == other;
    let begin = one.chars().zip(other.chars()).take_while(same);
    let begin = begin.map(|(one, _)| one.len_utf8()).sum();
    let end = one[begin..].chars().rev().zip(other[begin..].chars().rev()).take_while(same);
    (begin, end.map(|(one, _)| one.len_utf8()).sum())
}

/// Splits a presented and a registered URI, so that a page can mark the difference: the beginning that they share, the
/// different part, and the end that they share.
pub fn marked<'a>(presented: &'a str, registered: &'a str) -> ([&'a str; 3], [&'a str; 3]) {
    let (begin, end) = shared(presented, registered);
    let split = |text: &'a str| {
        let (before, rest) = text.split_at(begin);
        let (differs, after) = rest.split_at(rest.len() - end);
        [before, differs, after]
    };
    (split(presented), split(registered))
}

/// The parts of a URI, without reading it as a browser would.
struct Parts<'a> {
    scheme: &'a str,
    host: &'a str,
    port: Option<&'a str>,
    path: &'a str,
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Self {
        let (scheme, rest) = text.split_once(':').unwrap_or(("", text));
        let (authority, rest) = match rest.strip_prefix("//") {
            Some(rest) => rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len())),
            None => ("", rest),
        };
        let path = rest.split(['?', '#']).next().unwrap_or_default();
        // The colons of an IPv6 address stand before its bracket.
        let (host, port) = match authority.rfind(':').filter(|at| !authority[*at..].contains(']')) {
            Some(at) => (&authority[..at], Some(&authority[at + 1..])),
            None => (authority, None),
        };
        Self { scheme, host, port, path }
    }
}

/// Returns the host of a loopback URI and what follows its port; `None` for other URIs.
fn loopback(text: &str) -> Option<(&str, &str)> {
    let rest = text.strip_prefix("http://")?;
    let host = LOOPBACK.into_iter().find_map(|host| rest.strip_prefix(host).map(|_| host))?;
    let rest = &rest[host.len()..];
    let rest = match rest.strip_prefix(':') {
        Some(rest) => {
            let digits = rest.find(|byte: char| !byte.is_ascii_digit()).unwrap_or(rest.len());
            let (port, rest) = rest.split_at(digits);
            Some(rest).filter(|_| is_port(port))?
        }
        None => rest,
    };
    let is_whole = rest.is_empty() || rest.starts_with(['/', '?']);
    is_whole.then_some((host, rest))
}

/// Returns true for the digits of a port as programs write them.
fn is_port(digits: &str) -> bool {
    digits.parse::<u16>().is_ok_and(|port| port > 0 && port.to_string() == digits)
}

/// Returns what is wrong with a URI that is to be registered: the end of a sentence.
fn fault_of(text: &str, rules: Rules) -> Option<String> {
    let fault = |fault: &str| Some(fault.to_owned());
    if let Some(fault) = fault_of_characters(text) {
        return Some(fault);
    }
    let Ok(url) = Url::parse(text) else {
        return fault("is not an absolute URI, such as https://app.example.com/callback");
    };
    let Parts { scheme, host, port, path } = Parts::of(text);
    if scheme != url.scheme() {
        return Some(format!("must begin with {}: in lower case", url.scheme()));
    }
    if has_dot_segment(path) {
        return fault("contains a segment . or .. in its path: write the path without it");
    }
    if let Some((name, _)) = url.query_pairs().find(|(name, _)| OF_ANSWERS.contains(&name.as_ref()))
    {
        return Some(format!("contains the parameter {name}, which the answer adds: leave it out"));
    }
    if !["http", "https"].contains(&scheme) {
        return fault_of_own_scheme(scheme, rules);
    }
    if host.contains('@') || !url.username().is_empty() || url.password().is_some() {
        return fault("contains a user name before the host: leave it out");
    }
    if url.host_str() != Some(host) || !text.starts_with(&format!("{scheme}://")) {
        let expected = url.host_str().unwrap_or_default();
        return Some(format!("must name its host as browsers do: {expected}"));
    }
    if !port.is_none_or(is_port) {
        return fault("has an invalid port: it must be a number from 1 to 65535");
    }
    let is_safe = scheme == "https" || LOOPBACK.contains(&host) || rules.insecure_http;
    let advice = "must begin with https://. Plain http is only for 127.0.0.1, [::1] and localhost, or for \
                  a network that an operator trusts (--insecure-http)";
    if is_safe { None } else { fault(advice) }
}

/// Returns what is wrong with the length or with a character of a URI.
fn fault_of_characters(text: &str) -> Option<String> {
    let fault = |fault: &str| Some(fault.to_owned());
    if text.len() > MAX_LENGTH {
        return Some(format!("is too long: it can have at most {MAX_LENGTH} characters"));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return fault(
            "contains a space or another character that is not visible ASCII: write it in percent-encoding",
        );
    }
    for (banned, name) in [('*', "an asterisk"), ('#', "a fragment"), ('\\', "a backslash")] {
        if text.contains(banned) {
            return Some(format!(
                "contains {name}: write the whole URI as the application sends it"
            ));
        }
    }
    if text.contains(['"', '<', '>', '`', '{', '}', '|', '^']) {
        return fault("contains a character that URIs cannot have: write it in percent-encoding");
    }
    None
}

/// Returns what is wrong with a scheme other than `http` and `https`.
fn fault_of_own_scheme(scheme: &str, rules: Rules) -> Option<String> {
    if !rules.native {
        let advice = "must begin with https://. Only a native application can have a scheme of its own (--native)";
        return Some(advice.to_owned());
    }
    let advice = "must begin with a scheme that contains a dot, such as com.example.app:/callback";
    (!scheme.contains('.')).then(|| advice.to_owned())
}

/// Returns true if a path contains `.` or `..`, also in percent-encoding, which browsers remove.
fn has_dot_segment(path: &str) -> bool {
    let path = path.to_ascii_lowercase().replace("%2e", ".");
    path.split('/').any(|segment| [".", ".."].contains(&segment))
}

/// Reads a JSON array of URIs from a column. They were checked when they were registered.
pub(super) fn from_json(text: &str) -> Option<Vec<RedirectUri>> {
    let texts: Vec<String> = serde_json::from_str(text).ok()?;
    Some(texts.into_iter().map(RedirectUri).collect())
}

/// Writes URIs for a column.
pub(super) fn to_json(uris: &[RedirectUri]) -> String {
    serde_json::json!(uris.iter().map(RedirectUri::as_str).collect::<Vec<_>>()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEB: Rules = Rules { native: false, insecure_http: false };
    const NATIVE: Rules = Rules { native: true, insecure_http: false };
    const INSECURE: Rules = Rules { native: false, insecure_http: true };

    /// Texts that nobody can register, each with a word of the fault.
    const BAD: &[(&str, Rules, &str)] = &[
        ("", WEB, "absolute"),
        ("/callback", WEB, "absolute"),
        ("app.example.com/callback", WEB, "absolute"),
        ("//app.example.com/callback", WEB, "absolute"),
        ("https:///callback", WEB, "host"),
        ("https:app.example.com/callback", WEB, "host"),
        ("https://app.example.com/callback#x", WEB, "fragment"),
        ("https://app.example.com/#", WEB, "fragment"),
        ("https://user@app.example.com/callback", WEB, "user name"),
        ("https://user:pw@app.example.com/callback", WEB, "user name"),
        ("https://@app.example.com/callback", WEB, "user name"),
        ("https://app.example.com\\@evil.example/", WEB, "backslash"),
        ("https:\\\\app.example.com/", WEB, "backslash"),
        ("https://app.example.com/a/../callback", WEB, "segment"),
        ("https://app.example.com/a/%2e%2E/callback", WEB, "segment"),
        ("https://app.example.com/./callback", WEB, "segment"),
        ("https://*.example.com/callback", WEB, "asterisk"),
        ("https://app.example.com/*", WEB, "asterisk"),
        ("https://app.example.com/call back", WEB, "visible"),
        ("https://app.example.com/callback\n", WEB, "visible"),
        ("https://app.example.com/\tcallback", WEB, "visible"),
        ("https://münchen.example/callback", WEB, "visible"),
        ("HTTPS://app.example.com/callback", WEB, "lower case"),
        ("https://App.example.com/callback", WEB, "as browsers do"),
        ("http://2130706433/callback", NATIVE, "as browsers do"),
        ("http://0x7f.1/callback", NATIVE, "as browsers do"),
        ("http://app.example.com/callback", WEB, "https"),
        ("http://localhost.example.com/callback", WEB, "https"),
        ("http://127.0.0.1.nip.io/callback", NATIVE, "https"),
        ("https://app.example.com:/callback", WEB, "port"),
        ("https://app.example.com:0443/callback", WEB, "port"),
        ("https://app.example.com:0/callback", WEB, "port"),
        ("https://app.example.com/callback?code=1", WEB, "parameter code"),
        ("https://app.example.com/callback?a=1&%69ss=x", WEB, "parameter iss"),
        ("com.example.app:/callback", WEB, "native"),
        ("javascript:alert(1)", WEB, "native"),
        ("javascript:alert(1)", NATIVE, "dot"),
        ("data:text/html,x", NATIVE, "dot"),
        ("file:///etc/passwd", NATIVE, "dot"),
        ("myapp:/callback", NATIVE, "dot"),
        ("https://app.example.com/\"><script>", WEB, "cannot have"),
    ];

    #[test]
    fn only_uris_that_everybody_reads_in_the_same_way_are_registered() {
        let good = [
            ("https://app.example.com/callback", WEB),
            ("https://app.example.com", WEB),
            ("https://app.example.com:8443/callback?tenant=1", WEB),
            ("https://xn--mnchen-3ya.example/callback", WEB),
            ("http://localhost:3000/login/generic_oauth", WEB),
            ("http://127.0.0.1/callback", NATIVE),
            ("http://[::1]:8080/callback", NATIVE),
            ("com.example.app:/callback", NATIVE),
            ("com.example.app://callback", NATIVE),
            ("http://grafana.lan:3000/login", INSECURE),
        ];
        for (text, rules) in good {
            assert_eq!(RedirectUri::parse(text, rules).map(|uri| uri.0), Ok(text.to_owned()));
        }
        for (text, rules, word) in BAD.iter().copied() {
            let fault = RedirectUri::parse(text, rules).expect_err(text);
            assert!(fault.contains(word), "{text}: {fault}");
        }
        assert!(
            RedirectUri::parse(&format!("https://a.example/{}", "x".repeat(512)), WEB).is_err()
        );
    }

    fn uri(text: &str) -> RedirectUri {
        RedirectUri::parse(text, NATIVE).unwrap()
    }

    /// Thirty spellings of one URI that browsers or careless programs take for the same.
    #[test]
    fn a_presented_uri_is_compared_byte_for_byte() {
        let registered = uri("https://app.example.com/callback");
        assert!(registered.matches("https://app.example.com/callback", true));
        let spellings = [
            "https://app.example.com/callback/",
            "https://app.example.com/Callback",
            "https://app.example.com/callback?",
            "https://app.example.com/callback#",
            "https://app.example.com/callback?a=b",
            "https://app.example.com/callback#a",
            "https://app.example.com/callback%20",
            "https://app.example.com/callback ",
            " https://app.example.com/callback",
            "https://app.example.com/callback\t",
            "https://app.example.com/callback\n",
            "https://app.example.com/callback\0",
            "https://app.example.com/callback%00",
            "https://app.example.com/callbac%6b",
            "https://app.example.com//callback",
            "https://app.example.com/./callback",
            "https://app.example.com/a/../callback",
            "https://app.example.com/callback/..",
            "https://app.example.com/callback;a",
            "https://app.example.com:443/callback",
            "https://app.example.com:8443/callback",
            "https://app.example.com./callback",
            "https://APP.example.com/callback",
            "HTTPS://app.example.com/callback",
            "http://app.example.com/callback",
            "https://app.example.com.evil.example/callback",
            "https://app.example.com@evil.example/callback",
            "https://evil.example\\@app.example.com/callback",
            "https://user@app.example.com/callback",
            "https://app.example.com\\callback",
            "//app.example.com/callback",
            "/callback",
            "",
        ];
        assert!(spellings.len() >= 30);
        for spelling in spellings {
            assert!(!registered.matches(spelling, true), "{spelling:?}");
            assert!(!registered.matches(spelling, false), "{spelling:?}");
        }
    }

    #[test]
    fn only_loopback_uris_of_native_clients_match_any_port() {
        let rows = [
            ("http://127.0.0.1/cb", "http://127.0.0.1:51004/cb", true),
            ("http://127.0.0.1:80/cb", "http://127.0.0.1:51004/cb", true),
            ("http://127.0.0.1:80/cb", "http://127.0.0.1/cb", true),
            ("http://[::1]/cb", "http://[::1]:51004/cb", true),
            ("http://localhost/cb", "http://localhost:51004/cb", true),
            ("http://127.0.0.1", "http://127.0.0.1:51004", true),
            ("http://127.0.0.1/cb", "http://localhost:51004/cb", false),
            ("http://127.0.0.1/cb", "http://127.0.0.1:51004/cb/", false),
            ("http://127.0.0.1/cb", "http://127.0.0.1:51004/cb?a", false),
            ("http://127.0.0.1/cb", "http://127.0.0.1:/cb", false),
            ("http://127.0.0.1/cb", "http://127.0.0.1:0/cb", false),
            ("http://127.0.0.1/cb", "http://127.0.0.1:99999/cb", false),
            ("http://127.0.0.1/cb", "http://127.0.0.1:080/cb", false),
            ("http://127.0.0.1/cb", "http://127.0.0.1:1@evil.example/cb", false),
            ("http://127.0.0.1/cb", "http://127.0.0.1.evil.example/cb", false),
            ("http://127.0.0.1/cb", "http://127.0.0.1:80.evil.example/cb", false),
            ("http://127.0.0.1/cb", "https://127.0.0.1:51004/cb", false),
            ("https://app.example.com/cb", "https://app.example.com:51004/cb", false),
        ];
        for (registered, presented, expected) in rows {
            assert_eq!(uri(registered).matches(presented, true), expected, "{presented}");
            assert!(!uri(registered).matches(presented, false), "{presented}");
        }
    }

    #[test]
    fn the_nearest_uri_is_found_with_the_difference() {
        let registered = [uri("https://app.example.com/callback"), uri("http://localhost:3000/cb")];
        let rows = [
            ("https://app.example.com/callback/", 0, Difference::Slash),
            ("https://app.example.com/Callback", 0, Difference::Case),
            ("http://app.example.com/callback", 0, Difference::Scheme),
            ("http://localhost:3001/cb", 1, Difference::Port),
            ("http://localhost/cb", 1, Difference::Port),
            ("https://app.example.com/other", 0, Difference::Path),
            ("https://app.example.com/callback?x=1", 0, Difference::Query),
            ("https://other.example.com/callback", 0, Difference::Host),
        ];
        for (presented, place, difference) in rows {
            let found = nearest(&registered, presented);
            assert_eq!(found, Some((&registered[place], difference)), "{presented}");
        }
        assert_eq!(nearest(&[], "https://app.example.com"), None);
    }

    #[test]
    fn of_uris_with_the_same_difference_the_most_similar_and_then_the_first_is_the_nearest() {
        let registered = [
            uri("https://www.example.org/cb"),
            uri("https://app.example.com/oauth2/callback"),
            uri("https://api.example.com/oauth2/callback"),
        ];
        for (presented, place) in [
            // The beginning is like that of the first one, but more of the second one is the same.
            ("https://www.example.com/oauth2/callback", 1),
            ("https://api.example.com/oauth2/other", 2),
            ("https://www.example.org/callback", 0),
            ("https://axx.example.com/oauth2/callback", 1),
            ("https://apx.example.com/oauth2/callback", 1),
        ] {
            let (found, _) = nearest(&registered, presented).unwrap();
            assert_eq!(found, &registered[place], "{presented}");
        }
    }

    #[test]
    fn the_difference_of_two_uris_is_marked_in_both() {
        for (one, other, first, second) in [
            ("http://a/cb/", "http://a/cb", ["http://a/cb", "/", ""], ["http://a/cb", "", ""]),
            (
                "http://a:1/cb",
                "http://a:2/cb",
                ["http://a:", "1", "/cb"],
                ["http://a:", "2", "/cb"],
            ),
            ("http://a/Cb", "http://a/cb", ["http://a/", "C", "b"], ["http://a/", "c", "b"]),
            ("aa", "aaa", ["aa", "", ""], ["aa", "a", ""]),
            ("http://ä/", "http://ö/", ["http://", "ä", "/"], ["http://", "ö", "/"]),
            ("", "x", ["", "", ""], ["", "x", ""]),
        ] {
            assert_eq!(marked(one, other), (first, second), "{one} {other}");
        }
    }
}
