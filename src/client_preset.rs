//! Presets: the configurations of well-known applications, with the values of a client.

use api::base::random;
use clap::ValueEnum;
use serde_json::{Map, Value, json};

use crate::print;

/// An application whose configuration Tessera can print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Preset {
    /// Grafana
    Grafana,
    /// oauth2-proxy
    #[value(name = "oauth2-proxy")]
    Oauth2Proxy,
    /// The Apache module mod_auth_openidc
    #[value(name = "mod_auth_openidc")]
    ModAuthOpenidc,
}

/// The values of a configuration.
struct Values {
    issuer: String,
    id: String,
    secret: String,
    redirect: String,
    scopes: Vec<String>,
}

impl Preset {
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// The path of the redirect URI.
    fn path(self) -> &'static str {
        match self {
            Self::Grafana => "/login/generic_oauth",
            Self::Oauth2Proxy => "/oauth2/callback",
            Self::ModAuthOpenidc => "/oidc/callback",
        }
    }

    /// The scopes that the application needs, in the order of its documentation.
    fn scopes(self) -> &'static [&'static str] {
        match self {
            Self::Grafana => &["openid", "profile", "email", "groups", "offline_access"],
            Self::Oauth2Proxy => &["openid", "email", "groups"],
            Self::ModAuthOpenidc => &["openid", "profile", "email", "groups"],
        }
    }

    /// Completes the body that creates a client: the redirect URI at the URL of the application, and the scopes that the
    /// configuration asks for.
    ///
    /// # Errors
    ///
    /// A sentence, if the configuration would not work.
    pub(crate) fn complete(
        self,
        body: &mut Map<String, Value>,
        app: Option<&str>,
    ) -> Result<(), String> {
        let name = self.name();
        if let Some(app) = app {
            let redirect = format!("{}{}", app.trim_end_matches('/'), self.path());
            body.entry("redirect_uris").or_insert(json!([redirect]));
        }
        if !body.contains_key("redirect_uris") {
            return Err(format!(
                "--preset {name} needs the URL of the application, such as --app https://{name}.example.com, or its \
                 redirect URI: --redirect https://{name}.example.com{}",
                self.path()
            ));
        }
        if body.get("auth_method").is_some_and(|method| method == "none") {
            return Err(format!(
                "--preset {name} configures an application with a secret: leave --public out, or leave --preset out"
            ));
        }
        let scopes = body.entry("scopes").or_insert(json!(self.scopes()));
        if !scopes.as_array().is_some_and(|words| words.contains(&json!("openid"))) {
            return Err(format!("--preset {name} needs the scope openid: add it to --scope"));
        }
        match body.get("secret").and_then(Value::as_str).and_then(|secret| self.fault_of(secret)) {
            Some(fault) => Err(format!("the secret in the file {fault}: choose another one")),
            None => Ok(()),
        }
    }

    /// Returns what is wrong with a secret that the format of the configuration cannot hold, whatever is done to it.
    fn fault_of(self, secret: &str) -> Option<&'static str> {
        match self {
            Self::Grafana if ["${", "$__", "%("].iter().any(|begin| secret.contains(begin)) => {
                Some("contains ${, $__ or %(, which Grafana replaces")
            }
            Self::Grafana if secret.contains("\"\"\"") || secret.ends_with('"') => {
                Some("contains quotation marks in a place where grafana.ini cannot have them")
            }
            Self::ModAuthOpenidc if secret.contains("${") || secret.starts_with("exec:") => {
                Some("contains ${ or begins with exec:, which Apache replaces")
            }
            _ => None,
        }
    }

    /// The configuration for a client that was just made.
    pub(crate) fn configuration(self, made: &Value) -> String {
        let known = made["client"]["scopes"].as_array().cloned().unwrap_or_default();
        let known: Vec<_> = known.iter().map(print::text).collect();
        // The usual ones come in their usual order, and then the others.
        let usual = self.scopes().iter().map(|word| (*word).to_owned());
        let others = known.iter().filter(|word| !self.scopes().contains(&word.as_str())).cloned();
        let values = Values {
            issuer: print::text(&made["issuer"]),
            id: print::text(&made["client"]["client_id"]),
            secret: print::text(&made["client_secret"]),
            redirect: print::text(&made["client"]["redirect_uris"][0]),
            scopes: usual.filter(|word| known.contains(word)).chain(others).collect(),
        };
        match self {
            Self::Grafana => grafana(&values),
            Self::Oauth2Proxy => oauth2_proxy(&values),
            Self::ModAuthOpenidc => mod_auth_openidc(&values),
        }
    }
}

impl Values {
    fn scope(&self) -> String {
        self.scopes.join(" ")
    }

    fn has(&self, scope: &str) -> bool {
        self.scopes.iter().any(|word| word == scope)
    }
}

/// A value of an ini file as Grafana reads it. Characters that begin a comment or another value are in three quotation
/// marks.
fn in_ini(value: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~+/=:@".contains(&byte);
    match value.bytes().all(is_plain) && !value.starts_with('=') {
        true => value.to_owned(),
        false => format!("\"\"\"{value}\"\"\""),
    }
}

/// A value in quotation marks, as TOML and Apache read it.
fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

fn grafana(values: &Values) -> String {
    let Values { issuer, id, secret, redirect, .. } = values;
    let root = redirect.strip_suffix(Preset::Grafana.path()).unwrap_or(redirect);
    let roles = "role_attribute_path = contains(groups[*], 'grafana-admin') && 'Admin' || 'Viewer'";
    let lines = [
        "# grafana.ini".to_owned(),
        "[server]".to_owned(),
        format!("root_url = {root}"),
        String::new(),
        "[auth.generic_oauth]".to_owned(),
        "enabled = true".to_owned(),
        "name = Tessera".to_owned(),
        format!("client_id = {id}"),
        format!("client_secret = {}", in_ini(secret)),
        format!("scopes = {}", values.scope()),
        format!("auth_url = {issuer}/oauth2/authorize"),
        format!("token_url = {issuer}/oauth2/token"),
        format!("api_url = {issuer}/oauth2/userinfo"),
        "use_pkce = true".to_owned(),
        format!("use_refresh_token = {}", values.has("offline_access")),
        "login_attribute_path = email".to_owned(),
        "name_attribute_path = name".to_owned(),
    ];
    let roles = values.has("groups").then(|| roles.to_owned());
    lines.into_iter().chain(roles).collect::<Vec<_>>().join("\n")
}

fn oauth2_proxy(values: &Values) -> String {
    let Values { issuer, id, secret, redirect, .. } = values;
    let lines = [
        "# oauth2-proxy.cfg".to_owned(),
        "provider = \"oidc\"".to_owned(),
        format!("oidc_issuer_url = {}", quoted(issuer)),
        format!("client_id = {}", quoted(id)),
        format!("client_secret = {}", quoted(secret)),
        format!("redirect_url = {}", quoted(redirect)),
        format!("scope = {}", quoted(&values.scope())),
        "code_challenge_method = \"S256\"".to_owned(),
        "email_domains = [\"*\"]".to_owned(),
        "# Made for this configuration alone".to_owned(),
        format!("cookie_secret = {}", quoted(&random::letters_and_digits(32))),
    ];
    let groups = values.has("groups").then(|| "oidc_groups_claim = \"groups\"".to_owned());
    let plain = redirect.starts_with("http://").then(|| "cookie_secure = false".to_owned());
    lines.into_iter().chain(groups).chain(plain).collect::<Vec<_>>().join("\n")
}

fn mod_auth_openidc(values: &Values) -> String {
    let Values { issuer, id, secret, redirect, .. } = values;
    let (secret, scope) = (quoted(secret), quoted(&values.scope()));
    let passphrase = random::letters_and_digits(43);
    format!(
        "# Apache
OIDCProviderMetadataURL {issuer}/.well-known/openid-configuration
OIDCClientID {id}
OIDCClientSecret {secret}
OIDCRedirectURI {redirect}
OIDCScope {scope}
OIDCPKCEMethod S256
OIDCRemoteUserClaim email
# Made for this configuration alone
OIDCCryptoPassphrase \"{passphrase}\"

<Location />
    AuthType openid-connect
    Require valid-user
</Location>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const ODD: &str = r##"a"b\c#d;e=f`g'h{i}j%k&l<m>n|o~0123456789abcdef"##;

    fn made(secret: &str, scopes: &[&str]) -> Value {
        json!({
            "issuer": "https://id.example.com",
            "client": {
                "client_id": "app",
                "redirect_uris": ["https://app.example.com/cb"],
                "scopes": scopes,
            },
            "client_secret": secret,
        })
    }

    #[test]
    fn a_chosen_secret_is_escaped_for_the_format_of_each_configuration() {
        let scopes = ["email", "groups", "openid"];
        let text = |preset: Preset| preset.configuration(&made(ODD, &scopes));
        let escaped = ODD.replace('\\', r"\\").replace('"', r#"\""#);
        let ini = format!("client_secret = \"\"\"{ODD}\"\"\"\n");
        assert!(text(Preset::Grafana).contains(&ini));
        let toml = text(Preset::Oauth2Proxy);
        assert!(toml.contains(&format!("client_secret = \"{escaped}\"\n")), "{toml}");
        let apache = text(Preset::ModAuthOpenidc);
        assert!(apache.contains(&format!("OIDCClientSecret \"{escaped}\"\n")), "{apache}");
        for preset in [Preset::Grafana, Preset::Oauth2Proxy, Preset::ModAuthOpenidc] {
            let text = preset.configuration(&made("tsr_cs_0123", &["openid"]));
            assert!(!text.contains("\"\"") && !text.contains("groups"), "{text}");
            assert!(!text.contains("offline_access"), "{text}");
        }
    }

    #[test]
    fn a_configuration_that_would_not_work_is_refused() {
        let complete = |preset: Preset, body: Value, app: Option<&str>| {
            let mut body = body.as_object().cloned().unwrap();
            preset.complete(&mut body, app).map(|()| body)
        };
        let app = Some("https://app.example.com/");
        let made = complete(Preset::Grafana, json!({}), app).unwrap();
        assert_eq!(made["redirect_uris"], json!(["https://app.example.com/login/generic_oauth"]));
        let narrow = json!({ "scopes": ["openid", "email"] });
        assert_eq!(
            complete(Preset::Grafana, narrow.clone(), app).unwrap()["scopes"],
            narrow["scopes"]
        );
        for (preset, body, app, word) in [
            (Preset::Oauth2Proxy, json!({}), None, "--app https://oauth2-proxy.example.com"),
            (Preset::Grafana, json!({ "auth_method": "none" }), app, "--public"),
            (Preset::Grafana, json!({ "scopes": ["email"] }), app, "openid"),
            (Preset::Grafana, json!({ "secret": "a$__file{/x}" }), app, "Grafana replaces"),
            (Preset::ModAuthOpenidc, json!({ "secret": "exec:/bin/x" }), app, "Apache replaces"),
        ] {
            let fault = complete(preset, body, app).unwrap_err();
            assert!(fault.contains(word) && !fault.contains("/bin/x"), "{fault}");
        }
    }
}
