//! `tessera backup`

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use api::base::config::Config;
use api::base::database::{DatabaseUrl, NameLock, PostgresUrl, file};
use clap::Args;

use crate::print;

/// The advice about the secret, for every backup.
pub(crate) const SECRET: &str = "Without APP_SECRET, nobody can use the keys and mails in the backup. Keep the secret too, but in \
     another place: with both, anyone can issue tokens for every user.";

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The new file
    file: PathBuf,

    /// Replace a file that exists
    #[arg(long)]
    force: bool,
}

pub(crate) async fn run(arguments: Arguments, config: Config) -> Result<ExitCode, String> {
    config.database_url.require_there()?;
    match &config.database_url {
        DatabaseUrl::Sqlite(path) => {
            let _name = NameLock::share(&config.database_url).await?;
            backup(path, &arguments).await?;
            Ok(ExitCode::SUCCESS)
        }
        DatabaseUrl::Postgres(server) => {
            let listen = match &config.feed.database_listen_url {
                Some(DatabaseUrl::Postgres(server)) => Some(&**server),
                _ => None,
            };
            print::line(dump(listen.unwrap_or(server), &arguments.file)?);
            let pooler = if listen.is_none() && server.is_behind_pooler() {
                " pg_dump does not work through a pooler in transaction mode: put the address of the database itself \
                 into the line."
            } else {
                ""
            };
            eprintln!(
                "note: nothing was backed up. PostgreSQL makes its own backups, of one instant and while servers run: \
                 run the line above. pg_dump must not be older than the server. It asks for the password, or \
                 reads it from ~/.pgpass or PGPASSWORD.{pooler}\nnote: {SECRET}"
            );
            // A script must not take this for a backup.
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Copies the database into a file beside the new one, checks the copy, and gives it its name.
async fn backup(from: &Path, Arguments { file, force }: &Arguments) -> Result<(), String> {
    if is_same(from, file) {
        return Err(format!("{} is the database itself: name another file", file.display()));
    }
    let exists =
        || format!("{} exists: name another file, or replace it with --force", file.display());
    if !force && file.symlink_metadata().is_ok() {
        return Err(exists());
    }
    let partial = beside(file, "partial")?;
    file::copy(from, &partial).await?;
    let placed = place(&partial, file, *force).await;
    if placed.is_err() {
        let _ = std::fs::remove_file(&partial);
    }
    placed.map_err(|fault| fault.unwrap_or_else(exists))?;
    let size = file.metadata().map(|file| file.len()).unwrap_or_default();
    print::line(format!("backed up: {} ({size} bytes)", file.display()));
    print::line(SECRET);
    Ok(())
}

/// Gives a checked copy its name. The error is `None` if another file has the name.
async fn place(partial: &Path, file: &Path, force: bool) -> Result<(), Option<String>> {
    file::check(partial).await.map_err(Some)?;
    let fault =
        |error: std::io::Error| Some(format!("{} cannot be written: {error}", file.display()));
    // Unlike a rename, a link never replaces a file that somebody else has just made.
    let linked = if force { None } else { Some(std::fs::hard_link(partial, file)) };
    match linked {
        Some(Ok(())) => std::fs::remove_file(partial).map_err(fault)?,
        Some(Err(error)) if error.kind() == ErrorKind::AlreadyExists => return Err(None),
        // Some file systems have no links.
        Some(Err(_)) if file.exists() => return Err(None),
        Some(Err(_)) | None => std::fs::rename(partial, file).map_err(fault)?,
    }
    file::on_disk(folder_of(file)).map_err(fault)
}

/// Returns a name in the folder of a file for something that belongs to it.
///
/// # Errors
///
/// If the file has no name.
pub(crate) fn beside(file: &Path, what: &str) -> Result<PathBuf, String> {
    let name = file.file_name().ok_or_else(|| format!("{} has no name", file.display()))?;
    let name = format!("{}.{what}-{}", name.to_string_lossy(), std::process::id());
    Ok(file.with_file_name(name))
}

/// The folder of a file.
pub(crate) fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// Returns true if both names lead to the same file.
pub(crate) fn is_same(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

/// The line that backs up a PostgreSQL database, without a password. Only the owner can read the file.
fn dump(server: &PostgresUrl, file: &Path) -> Result<String, String> {
    let name = file.to_str().ok_or("the name of the file is not UTF-8 text")?;
    let url = server.without_password();
    let mut words = vec!["pg_dump", "--format=custom", "--no-owner", "--no-privileges"];
    let schema = server.schema().map(|schema| format!("--schema={schema}"));
    words.extend(schema.as_deref());
    let (file, database) = (format!("--file={name}"), format!("--dbname={url}"));
    words.extend([file.as_str(), &database]);
    Ok(format!("(umask 077; {})", line(words)?))
}

/// Joins words to a line for a shell. Only words that need them have quotation marks.
pub(crate) fn line<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<String, String> {
    let is_plain = |word: &str| {
        word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_=:/.@%,+".contains(&byte))
    };
    let quoted = |word: &'a str| match is_plain(word) {
        true => Ok(word.into()),
        false => shlex::try_quote(word),
    };
    let words: Result<Vec<_>, _> = words.into_iter().map(quoted).collect();
    let words = words.map_err(|_| "the name of the file contains a NUL".to_owned())?;
    Ok(words.join(" "))
}
