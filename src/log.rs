//! The set-up of log lines, which go to standard error.

use std::io::IsTerminal;

use api::base::config::{Config, LogFormat};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

/// The filter of the settings.
///
/// # Errors
///
/// If `RUST_LOG` is not a filter.
pub(crate) fn filter(config: &Config) -> Result<EnvFilter, String> {
    EnvFilter::try_new(&config.rust_log).map_err(|_| {
        format!(
            "RUST_LOG is {:?}: it must be a level, or pairs of target and level, such as info or \
             info,api::platform=debug",
            config.rust_log
        )
    })
}

/// Logs in the format and with the filter of the settings.
///
/// # Errors
///
/// If `RUST_LOG` is not a filter.
pub(crate) fn to_stderr(config: &Config) -> Result<(), String> {
    let filter = filter(config)?;
    // At every start, PostgreSQL sends notices about tables that already exist.
    let quiet = "sqlx::postgres::notice=warn"
        .parse()
        .map_err(|_| "the built-in log filter is not valid".to_owned())?;
    let filter =
        if config.rust_log.contains("sqlx") { filter } else { filter.add_directive(quiet) };
    let terminal = std::io::stderr().is_terminal();
    let pretty = match config.log_format {
        LogFormat::Auto => terminal,
        LogFormat::Pretty => true,
        LogFormat::Json => false,
    };
    // A line that cannot be written, for example on a full disk, is lost. It must not make a request fail.
    let lines =
        fmt().with_env_filter(filter).with_writer(std::io::stderr).log_internal_errors(false);
    if pretty {
        lines.with_ansi(terminal).init();
    } else {
        lines.json().flatten_event(true).init();
    }
    Ok(())
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
