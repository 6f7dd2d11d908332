//! Errors that a browser carries back to the client that sent it (RFC 6749, section 4.1.2.1), in the query of the
//! client's own address. No operation uses this yet. The authorization endpoint will be the first.

use poem::http::StatusCode;
use url::Url;

use super::oauth::described;
use super::{Code, Error};

/// The address to which the browser is redirected, with the error in the query. The address must be one that the
/// client has registered: Tessera redirects to no other. The client's `state` is returned unchanged, and `iss` names
/// the issuer (RFC 9207). The private cause is not included.
pub fn location(error: &Error, redirect_uri: &Url, state: Option<&str>, issuer: &str) -> Url {
    let mut location = redirect_uri.clone();
    location
        .query_pairs_mut()
        .append_pair("error", name(error.code))
        .append_pair("error_description", &described(error.code.sentence()))
        .extend_pairs(state.map(|state| ("state", state)))
        .append_pair("iss", issuer);
    location
}

/// The name of the error in RFC 6749.
fn name(code: Code) -> &'static str {
    match code.status() {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            "temporarily_unavailable"
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "access_denied",
        status if status.is_server_error() => "server_error",
        _ => "invalid_request",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(error: &Error, redirect_uri: &str, state: Option<&str>) -> Vec<(String, String)> {
        let redirect_uri = Url::parse(redirect_uri).unwrap();
        let location = location(error, &redirect_uri, state, "https://id.example.com");
        assert_eq!(location.host_str(), redirect_uri.host_str());
        assert_eq!(location.path(), redirect_uri.path());
        let pairs = location.query_pairs().into_owned().collect::<Vec<_>>();
        pairs.into_iter().filter(|(name, _)| name != "error_description").collect()
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn a_refusal_keeps_the_query_of_the_client_and_its_state() {
        let found =
            query(&Code::Forbidden.into(), "https://app.example.com/cb?a=b", Some("x&iss=y"));
        let expected = [
            pair("a", "b"),
            pair("error", "access_denied"),
            pair("state", "x&iss=y"),
            pair("iss", "https://id.example.com"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_client_that_sent_no_state_gets_none() {
        let found = query(&Code::InvalidRequest.into(), "https://app.example.com/cb", None);
        assert_eq!(
            found,
            [pair("error", "invalid_request"), pair("iss", "https://id.example.com")]
        );
    }

    #[test]
    fn every_code_has_a_name_of_the_rfc_and_a_description_that_it_allows() {
        let known = ["invalid_request", "access_denied", "server_error", "temporarily_unavailable"];
        for &code in Code::ALL {
            assert!(known.contains(&name(code)), "{code:?}");
            let description = described(code.sentence());
            let allowed = |byte: u8| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e);
            assert!(description.bytes().all(allowed), "{code:?}");
            assert!(!description.is_empty(), "{code:?}");
        }
    }

    #[test]
    fn the_private_cause_is_not_in_the_address() {
        let error = Error::because(Code::InternalServerError, "the password of the database");
        let redirect_uri = Url::parse("https://app.example.com/cb").unwrap();
        let location = location(&error, &redirect_uri, None, "https://id.example.com");
        assert!(!location.as_str().contains("database"));
        assert!(location.as_str().contains("error=server_error"));
    }
}
