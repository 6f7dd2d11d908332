//! The parameter `claims` (OpenID Connect Core, section 5.5): claims that a client asks for one by one.

use serde_json::{Map, Value};

/// The maximum number of claims in one request.
const MAX_CLAIMS: usize = 32;

/// A parsed parameter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClaimsRequest {
    id_token: Map<String, Value>,
    userinfo: Map<String, Value>,
}

impl ClaimsRequest {
    /// Parses the text of the parameter, as a request or a row contains it.
    pub fn parse(text: &str) -> Option<Self> {
        let Ok(Value::Object(mut members)) = serde_json::from_str(text) else { return None };
        let mut part = |name: &str| match members.remove(name) {
            None | Some(Value::Null) => Some(Map::new()),
            Some(Value::Object(claims)) if claims.len() <= MAX_CLAIMS => {
                let valid = |value: &Value| value.is_null() || value.is_object();
                claims.values().all(valid).then_some(claims)
            }
            Some(_) => None,
        };
        Some(Self { id_token: part("id_token")?, userinfo: part("userinfo")? })
    }

    /// The names of the claims that the ID token should have.
    pub fn of_id_token(&self) -> impl Iterator<Item = &str> {
        self.id_token.keys().map(String::as_str)
    }

    /// The names of the claims that userinfo should have.
    pub fn of_userinfo(&self) -> impl Iterator<Item = &str> {
        self.userinfo.keys().map(String::as_str)
    }

    /// The values of `acr` of which one is essential, if the request has any.
    pub(super) fn essential_acr(&self) -> Option<Vec<String>> {
        let acr = self.id_token.get("acr")?;
        if acr["essential"] != Value::Bool(true) {
            return None;
        }
        let listed = acr["values"].as_array().into_iter().flatten();
        let values = listed.chain(Some(&acr["value"])).filter_map(Value::as_str);
        let values: Vec<_> = values.map(ToOwned::to_owned).collect();
        (!values.is_empty()).then_some(values)
    }

    /// The user whom the request requires.
    pub(super) fn sub(&self) -> Option<&str> {
        self.id_token.get("sub")?["value"].as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::ClaimsRequest;

    #[test]
    fn only_objects_are_read() {
        for text in ["", "[]", "1", "\"a\"", r#"{"id_token":[]}"#, r#"{"userinfo":{"a":1}}"#] {
            assert_eq!(ClaimsRequest::parse(text), None, "{text}");
        }
        let text = r#"{"id_token":{"acr":{"essential":true,"values":["a"]},"sub":{"value":"u"}},
                       "userinfo":{"name":null},"more":1}"#;
        let read = ClaimsRequest::parse(text).unwrap();
        assert_eq!(read.essential_acr(), Some(vec!["a".to_owned()]));
        assert_eq!(read.sub(), Some("u"));
        assert_eq!(read.of_userinfo().collect::<Vec<_>>(), ["name"]);
        assert_eq!(
            ClaimsRequest::parse(r#"{"id_token":{"acr":null}}"#).unwrap().essential_acr(),
            None
        );
    }
}
