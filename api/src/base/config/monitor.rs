//! The settings of monitoring: metrics and traces.

use std::net::{IpAddr, SocketAddr};

use clap::Args;
use percent_encoding::percent_decode_str;
use url::Url;

use super::{ConfigError, Secret, value};

/// The settings of monitoring.
#[derive(Debug, Clone, Args)]
pub struct MonitorSettings {
    /// The address and port at which a server answers `/metrics` for Prometheus, for example `127.0.0.1:9464` or
    /// `[::1]:9464`. Nothing else is answered there. If it is not set, there are no metrics. Let only your monitoring
    /// reach it
    #[arg(long, env = "METRICS_LISTEN", global = true, value_name = "ADDRESS",
          value_parser = parse_address)]
    pub metrics_listen: Option<SocketAddr>,

    /// The URL of a collector of traces that speaks OTLP over HTTP, for example `http://127.0.0.1:4318`. A server sends
    /// it a span for each request that is recorded. If it is not set, no spans are recorded
    #[arg(long = "otlp-endpoint", env = "OTEL_EXPORTER_OTLP_ENDPOINT", global = true, value_name = "URL",
          value_parser = parse_endpoint)]
    pub otlp_endpoint: Option<Url>,

    /// Further headers for the collector: NAME=VALUE, separated by commas. Values are percent-encoded
    #[arg(
        long = "otlp-headers",
        env = "OTEL_EXPORTER_OTLP_HEADERS",
        global = true,
        value_name = "HEADERS",
        hide_env_values = true
    )]
    pub otlp_headers: Option<Secret>,

    /// The share of requests whose spans are recorded, from 0 to 1. The flag of a `traceparent` does not change it
    #[arg(long = "otlp-sample", env = "OTEL_TRACES_SAMPLER_ARG", global = true, value_name = "SHARE",
          default_value = "0.1", value_parser = parse_share)]
    pub otlp_sample: f64,
}

impl MonitorSettings {
    /// Refuses headers that cannot be sent.
    pub(super) fn complete(&self) -> Result<(), ConfigError> {
        self.headers().map(drop).map_err(|fault| ConfigError::new(&fault))
    }

    /// Returns the headers for the collector.
    ///
    /// # Errors
    ///
    /// A sentence for the operator. It contains no value.
    pub fn headers(&self) -> Result<Vec<(String, Secret)>, String> {
        let text = self.otlp_headers.as_ref().map_or("", Secret::expose);
        let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
        let read = |pair: &str| {
            let (name, value) = pair.split_once('=')?;
            let name = name.trim().to_ascii_lowercase();
            let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
            let is_name = !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
            let is_value = value.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
            (is_name && is_value).then(|| (name, Secret::new(&value)))
        };
        pairs.map(read).collect::<Option<Vec<_>>>().ok_or_else(|| {
            "OTEL_EXPORTER_OTLP_HEADERS must be of the form name=value,name=value, with percent-encoded values, such \
             as authorization=Bearer%20abc"
                .to_owned()
        })
    }

    /// The URL to which spans are sent.
    pub fn traces_url(&self) -> Option<Url> {
        let mut url = self.otlp_endpoint.clone()?;
        let path = format!("{}/v1/traces", url.path().trim_end_matches('/'));
        url.set_path(&path);
        Some(url)
    }
}

/// Parses an address with a port. A name other than `localhost` could lead to several addresses.
fn parse_address(text: &str) -> Result<SocketAddr, String> {
    let fault = || {
        "must be an IP address and a port, such as 127.0.0.1:9464, [::1]:9464 or localhost:9464"
            .to_owned()
    };
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let (host, port) = text.rsplit_once(':').ok_or_else(fault)?;
    let host: IpAddr = value::parse_host(host).map_err(|_| fault())?;
    Ok(SocketAddr::new(host, port.parse().map_err(|_| fault())?))
}

fn parse_endpoint(text: &str) -> Result<Url, &'static str> {
    let fault = "must be a URL that begins with http:// or https://, without user name, query and fragment, such as \
                 http://127.0.0.1:4318: put credentials into OTEL_EXPORTER_OTLP_HEADERS";
    let url: Url = text.parse().map_err(|_| fault)?;
    let is_plain = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    let is_web = ["http", "https"].contains(&url.scheme()) && url.has_host();
    if is_web && is_plain { Ok(url) } else { Err(fault) }
}

fn parse_share(text: &str) -> Result<f64, &'static str> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("must be a number from 0 to 1, such as 0.1"),
    }
}
