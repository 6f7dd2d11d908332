//! The settings of gateways: the hosts of the applications that they guard.

use std::str::FromStr;

use clap::Args;

use super::{Config, ConfigError, Origin};

/// The settings of gateways.
#[derive(Debug, Clone, Args)]
pub struct ForwardSettings {
    /// Hosts of applications behind gateways that ask `/auth/forward`, separated by commas, for example
    /// `app.example.com,files.example.com:8443`. After a sign-in, browsers are led to these hosts and to no others. In
    /// development, a host without https is written as `http://localhost:8080`
    #[arg(long, env = "FORWARD_HOSTS", global = true, value_name = "HOSTS", value_delimiter = ',')]
    pub forward_hosts: Vec<ForwardHost>,
}

impl ForwardSettings {
    /// Fails if a host has no https outside development.
    pub(super) fn check(&self, dev: bool) -> Result<(), ConfigError> {
        let plain = self.forward_hosts.iter().find(|host| !host.origin().is_https() && !dev);
        let Some(host) = plain else { return Ok(()) };
        Err(ConfigError::new(&format!(
            "FORWARD_HOSTS contains {}, but browsers keep the cookie of a sign-in only over https: write the host with \
             https, or without a scheme",
            host.origin().as_str()
        )))
    }
}

/// The host of an application behind a gateway, with its scheme and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardHost(Origin);

impl ForwardHost {
    /// The origin of the host.
    pub fn origin(&self) -> &Origin {
        &self.0
    }
}

impl FromStr for ForwardHost {
    /// A description of the error, for people.
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let origin = match text.contains("://") {
            true => text.parse(),
            false => format!("https://{text}").parse(),
        };
        origin.map(Self)
    }
}

impl Config {
    /// The origin of an application behind a gateway, from the host that a request names.
    pub(crate) fn forward_host(&self, host: &str) -> Option<&Origin> {
        let hosts = self.forward.forward_hosts.iter().map(ForwardHost::origin);
        hosts.into_iter().find(|origin| origin.has_host(host))
    }

    /// All origins that a browser can be led to after a sign-in: this server's own, and those behind gateways.
    pub(crate) fn destinations(&self) -> impl Iterator<Item = &Origin> {
        let hosts = self.forward.forward_hosts.iter().map(ForwardHost::origin);
        std::iter::once(self.public_url.origin()).chain(hosts)
    }
}

#[cfg(test)]
mod tests {
    use super::ForwardHost;

    #[test]
    fn a_host_is_an_origin_with_https_unless_it_says_another_scheme() {
        for (text, origin) in [
            ("app.example.com", "https://app.example.com"),
            (" App.Example.com:8443 ", "https://app.example.com:8443"),
            ("app.example.com:443", "https://app.example.com"),
            ("https://app.example.com/", "https://app.example.com"),
            ("http://localhost:8080", "http://localhost:8080"),
            ("[::1]:8080", "https://[::1]:8080"),
        ] {
            assert_eq!(text.parse::<ForwardHost>().unwrap().origin().as_str(), origin, "{text}");
        }
        for text in ["", "*", "*.example.com", "app.example.com/path", "a@b", "a b", "ftp://a"] {
            assert!(text.parse::<ForwardHost>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_request_names_a_host_with_or_without_the_default_port() {
        let host = |text: &str| text.parse::<ForwardHost>().unwrap();
        for (known, named, is_it) in [
            ("app.example.com", "app.example.com", true),
            ("app.example.com", "APP.example.com:443", true),
            ("app.example.com", "app.example.com:80", false),
            ("app.example.com", "app.example.com:8443", false),
            ("app.example.com", "app.example.com.", false),
            ("app.example.com", "xapp.example.com", false),
            ("app.example.com:8443", "app.example.com:8443", true),
            ("app.example.com:8443", "app.example.com", false),
            ("app.example.com:8443", "app.example.com:8443:443", false),
            ("[::1]", "[::1]:443", true),
            ("http://localhost:8080", "localhost:8080", true),
            ("http://localhost", "localhost:80", true),
        ] {
            assert_eq!(host(known).origin().has_host(named), is_it, "{known} {named}");
        }
    }
}
