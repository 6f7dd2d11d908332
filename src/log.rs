//! Where log lines go.

use std::io::IsTerminal;

use api::base::config::{Config, LogFormat};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

/// Logs as the settings ask.
pub(crate) fn to_stderr(config: &Config) -> Result<(), String> {
    let filter = EnvFilter::try_new(&config.rust_log)
        .map_err(|_| "RUST_LOG is neither a level nor target=level pairs: use info".to_owned())?;
    // PostgreSQL tells of what is there already, at every start.
    let quiet = "sqlx::postgres::notice=warn".parse().map_err(|_| "a filter of ours".to_owned())?;
    let filter =
        if config.rust_log.contains("sqlx") { filter } else { filter.add_directive(quiet) };
    let terminal = std::io::stderr().is_terminal();
    let pretty = match config.log_format {
        LogFormat::Auto => terminal,
        LogFormat::Pretty => true,
        LogFormat::Json => false,
    };
    // A line that cannot be written, on a full disk, is lost; it must not cost a request.
    let lines =
        fmt().with_env_filter(filter).with_writer(std::io::stderr).log_internal_errors(false);
    if pretty {
        lines.with_ansi(terminal).init();
    } else {
        lines.json().flatten_event(true).init();
    }
    Ok(())
}

/// Warnings only, for commands whose output is for people.
pub(crate) fn faults_to_stderr() {
    let terminal = std::io::stderr().is_terminal();
    // At a prompt there is one already from the command before.
    let _ = fmt()
        .with_max_level(tracing::Level::WARN)
        .with_writer(std::io::stderr)
        .with_ansi(terminal)
        .without_time()
        .with_target(false)
        .try_init();
}
