//! Presets: the configurations of well-known applications, with the values of a client.

use clap::ValueEnum;
use serde_json::Value;

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

impl Preset {
    /// The redirect URI of the application at a URL.
    pub(crate) fn redirect(self, app: &str) -> String {
        let app = app.trim_end_matches('/');
        match self {
            Self::Grafana => format!("{app}/login/generic_oauth"),
            Self::Oauth2Proxy => format!("{app}/oauth2/callback"),
            Self::ModAuthOpenidc => format!("{app}/oidc/callback"),
        }
    }

    /// The configuration for a client that was just made.
    pub(crate) fn configuration(self, made: &Value) -> String {
        let issuer = print::text(&made["issuer"]);
        let id = print::text(&made["client"]["client_id"]);
        let secret = print::text(&made["client_secret"]);
        let redirect = print::text(&made["client"]["redirect_uris"][0]);
        match self {
            Self::Grafana => grafana(&issuer, &id, &secret, &redirect),
            Self::Oauth2Proxy => oauth2_proxy(&issuer, &id, &secret, &redirect),
            Self::ModAuthOpenidc => mod_auth_openidc(&issuer, &id, &secret, &redirect),
        }
    }
}

fn grafana(issuer: &str, id: &str, secret: &str, redirect: &str) -> String {
    let root = redirect.strip_suffix("/login/generic_oauth").unwrap_or(redirect);
    format!(
        "# grafana.ini
[server]
root_url = {root}

[auth.generic_oauth]
enabled = true
name = Tessera
client_id = {id}
client_secret = {secret}
scopes = openid profile email groups offline_access
auth_url = {issuer}/oauth2/authorize
token_url = {issuer}/oauth2/token
api_url = {issuer}/oauth2/userinfo
use_pkce = true
use_refresh_token = true
login_attribute_path = email
name_attribute_path = name
role_attribute_path = contains(groups[*], 'grafana-admin') && 'Admin' || 'Viewer'"
    )
}

fn oauth2_proxy(issuer: &str, id: &str, secret: &str, redirect: &str) -> String {
    let plain = if redirect.starts_with("http://") { "\ncookie_secure = false" } else { "" };
    format!(
        "# oauth2-proxy.cfg
provider = \"oidc\"
oidc_issuer_url = \"{issuer}\"
client_id = \"{id}\"
client_secret = \"{secret}\"
redirect_url = \"{redirect}\"
scope = \"openid email groups\"
code_challenge_method = \"S256\"
oidc_groups_claim = \"groups\"
email_domains = [\"*\"]
# Make it with: openssl rand -base64 32 | tr -- '+/' '-_'
cookie_secret = \"\"{plain}"
    )
}

fn mod_auth_openidc(issuer: &str, id: &str, secret: &str, redirect: &str) -> String {
    format!(
        "# Apache
OIDCProviderMetadataURL {issuer}/.well-known/openid-configuration
OIDCClientID {id}
OIDCClientSecret {secret}
OIDCRedirectURI {redirect}
OIDCScope \"openid profile email groups\"
OIDCPKCEMethod S256
OIDCRemoteUserClaim email
# Make it with: openssl rand -hex 32
OIDCCryptoPassphrase \"\"

<Location />
    AuthType openid-connect
    Require valid-user
</Location>"
    )
}
