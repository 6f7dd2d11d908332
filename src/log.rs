//! The set-up of log lines, which go to standard error.

mod json;

use std::io::IsTerminal;
use std::sync::OnceLock;

use api::base::config::{Config, EnvFile, LogFormat, value_in_env_file};
use clap::ArgMatches;
use clap::parser::ValueSource;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

/// Changes the filter of the log lines of this process.
type Change = Box<dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync>;

static CHANGE: OnceLock<Change> = OnceLock::new();

/// The filter of the settings.
///
/// # Errors
///
/// If `RUST_LOG` is not a filter.
pub(crate) fn filter(config: &Config) -> Result<EnvFilter, String> {
    parse(&config.rust_log)
}

fn parse(text: &str) -> Result<EnvFilter, String> {
    EnvFilter::try_new(text).map_err(|_| {
        format!(
            "RUST_LOG is {text:?}: it must be a level, or pairs of target and level, such as info or \
             info,api::platform=debug"
        )
    })
}

/// At every start, PostgreSQL sends notices about tables that already exist.
fn quiet(text: &str) -> Result<EnvFilter, String> {
    let filter = parse(text)?;
    let quiet = "sqlx::postgres::notice=warn"
        .parse()
        .map_err(|_| "the built-in log filter is not valid".to_owned())?;
    Ok(if text.contains("sqlx") { filter } else { filter.add_directive(quiet) })
}

/// Logs in the format and with the filter of the settings.
///
/// # Errors
///
/// If `RUST_LOG` is not a filter.
pub(crate) fn to_stderr(config: &Config) -> Result<(), String> {
    let filter = quiet(&config.rust_log)?;
    let terminal = std::io::stderr().is_terminal();
    let pretty = match config.log_format {
        LogFormat::Auto => terminal,
        LogFormat::Pretty => true,
        LogFormat::Json => false,
    };
    // A line that cannot be written, for example on a full disk, is lost. It must not make a request fail.
    let lines =
        fmt().with_env_filter(filter).with_writer(std::io::stderr).log_internal_errors(false);
    let change: Change = if pretty {
        let lines = lines.with_ansi(terminal).with_filter_reloading();
        let handle = lines.reload_handle();
        lines.init();
        Box::new(move |filter| handle.reload(filter).map_err(|error| error.to_string()))
    } else {
        let lines = lines.event_format(json::JsonLines).with_filter_reloading();
        let handle = lines.reload_handle();
        lines.init();
        Box::new(move |filter| handle.reload(filter).map_err(|error| error.to_string()))
    };
    let _ = CHANGE.set(change);
    Ok(())
}

/// The place that `RUST_LOG` comes from, for a server that reads it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// The file `.env`, or the default.
    File,
    /// A flag or the environment, which cannot change while the process runs.
    Process,
}

impl Source {
    pub(crate) fn of(matches: &ArgMatches, file: &EnvFile) -> Self {
        match matches.value_source("rust_log") {
            Some(ValueSource::CommandLine) => Self::Process,
            Some(ValueSource::EnvVariable)
                if !file.applied.iter().any(|name| name == "RUST_LOG") =>
            {
                Self::Process
            }
            _ => Self::File,
        }
    }
}

/// Reads `RUST_LOG` from `.env` again, and uses it from now on.
///
/// # Errors
///
/// If it is not a filter, or the file cannot be read. Then the log stays as it is.
pub(crate) fn follow_env_file() -> Result<(), String> {
    let text = value_in_env_file("RUST_LOG").map_err(|fault| fault.to_string())?;
    let filter = quiet(text.as_deref().unwrap_or("info"))?;
    CHANGE.get().map_or(Ok(()), |change| change(filter))
}

/// Logs warnings and errors only, for commands other than `serve`.
pub(crate) fn faults_to_stderr() {
    let terminal = std::io::stderr().is_terminal();
    // This fails at the prompt after the first command, which has set up the log already.
    let _ = fmt()
        .with_max_level(tracing::Level::WARN)
        .with_writer(std::io::stderr)
        .with_ansi(terminal)
        .without_time()
        .with_target(false)
        .try_init();
}
