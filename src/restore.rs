//! `tessera restore`

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use api::admin::restore::{self, Kept, Report};
use api::base::clock;
use api::base::config::Config;
use api::base::database::file::{self, Use};
use api::base::database::{DatabaseUrl, NameLock, PostgresUrl, release};
use chrono::DateTime;
use clap::Args;
use rustix::fs::{FlockOperation, fcntl_lock};

use crate::backup::{SECRET, beside, folder_of, is_same, line};
use crate::print;

/// The advice if a server uses the database.
const IN_USE: &str = "a server or another program uses the database: stop it, and run this again";

/// The advice about everything that a restore leaves alone.
const AS_IT_WAS: &str = "Everything else is as it was at the backup: users and their passwords, flags and scopes, \
     linked identities, API tokens, keys, secrets of applications, and audit. What was deleted, ended or changed since \
     must be done again: look at `tessera token list`, `tessera keys list`, `tessera client list` and \
     `tessera invitation list`.";

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The file that `tessera backup` made
    #[arg(required_unless_present = "after")]
    file: Option<PathBuf>,

    /// The database is restored already, by other means such as pg_restore or a snapshot of the disk: do only what must
    /// follow
    #[arg(long, conflicts_with = "file")]
    after: bool,

    /// Keep sessions, grants of applications and access tokens. Those that ended after the backup are alive again, and a
    /// stolen refresh token that was used since can work again
    #[arg(long)]
    keep_sessions: bool,

    /// Keep the mails that were waiting. Those that were sent after the backup are sent again
    #[arg(long)]
    keep_mails: bool,
}

pub(crate) async fn run(arguments: Arguments, config: Config) -> Result<ExitCode, String> {
    let kept = Kept { sessions: arguments.keep_sessions, mails: arguments.keep_mails };
    match (&arguments.file, config.database_url.clone()) {
        (None, _) => {
            config.database_url.require_there()?;
            report(&settle(config, kept).await?, kept);
        }
        (Some(file), DatabaseUrl::Sqlite(path)) => {
            restore(file, &path, config, kept).await?;
        }
        (Some(file), DatabaseUrl::Postgres(server)) => {
            let (lines, note) = restoring(&server, file)?;
            print::line(lines);
            eprintln!("note: nothing was restored. {note}\nnote: {SECRET}");
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Migrates a restored database and ends what must not come back.
async fn settle(config: Config, kept: Kept) -> Result<Report, String> {
    let app = api::open_restored(config).await?;
    let report = restore::settle(&app, kept).await;
    api::close(app).await;
    report.map_err(|error| format!("the database could not be prepared: {error}"))
}

/// Replaces the file of a SQLite database by a backup. Everything is prepared in a file beside it, so that a failure
/// changes nothing.
async fn restore(from: &Path, to: &Path, config: Config, kept: Kept) -> Result<(), String> {
    config.database_url.require_folder()?;
    // A link to the database stays a link.
    let target = if to.is_symlink() { to.canonicalize().ok() } else { None };
    let to = target.as_deref().unwrap_or(to);
    if is_same(from, to) {
        return Err(format!("{} is the database itself: name a backup", from.display()));
    }
    // A server that starts waits until this has ended, and then opens the new file.
    let _name = NameLock::take(to)
        .map_err(|error| format!("{} cannot be locked: {error}", to.display()))?
        .ok_or(IN_USE)?;
    // A server of 0.1.0 has only the locks of SQLite.
    drop(lock(to)?);
    release::require_known(&file::check(from).await?)
        .map_err(|fault| format!("{} cannot be restored: {fault}", from.display()))?;
    // The secret of a development server belongs to the name of the database.
    let config = config.with_kept_secret();
    let new = beside(to, "restoring")?;
    file::copy(from, &new).await?;
    let prepared = prepare(&new, config, kept).await;
    let _ = fs::remove_file(with_end(&new, "-lock"));
    let replaced = match prepared {
        Ok(report) => replace(&new, to).await.map(|previous| (report, previous)),
        Err(fault) => Err(fault),
    };
    if replaced.is_err() {
        for end in ["", "-wal", "-shm"] {
            let _ = fs::remove_file(with_end(&new, end));
        }
    }
    let (outcome, previous) = replaced?;
    print::line(format!("restored: {} from {}", to.display(), from.display()));
    if let Some(previous) = previous {
        print::line(format!("The previous database is {}.", previous.display()));
    }
    report(&outcome, kept);
    Ok(())
}

async fn prepare(new: &Path, config: Config, kept: Kept) -> Result<Report, String> {
    let config = Config { database_url: DatabaseUrl::Sqlite(new.to_owned()), ..config };
    let report = settle(config, kept).await?;
    match file::make_single(new).await {
        Use::Nobody => Ok(report),
        Use::Somebody => Err(format!("another program opened {}: run this again", new.display())),
        Use::Unreadable(fault) => Err(format!("{} cannot be written: {fault}", new.display())),
    }
}

/// Gives a prepared database its name. Returns the name that the previous one has now, if there was one.
async fn replace(new: &Path, to: &Path) -> Result<Option<PathBuf>, String> {
    let fault = |error: io::Error| format!("{} cannot be replaced: {error}", to.display());
    file::on_disk(new).map_err(fault)?;
    let has_previous = to.exists();
    if has_previous && file::make_single(to).await == Use::Somebody {
        return Err(IN_USE.to_owned());
    }
    let locked = lock(to)?;
    let previous = name_of_previous(to)?;
    if has_previous {
        keep_owner(new, to).map_err(fault)?;
        let linked = fs::hard_link(to, &previous);
        match (&locked, linked) {
            (Some(locked), Err(_)) => copy_locked(locked, &previous),
            (_, linked) => linked,
        }
        .map_err(fault)?;
    }
    // A log that is left belongs to a database that cannot be read or is gone. It must not be taken for one of the new
    // database.
    let log = with_end(to, "-wal");
    if log.exists() {
        fs::rename(&log, with_end(&previous, "-wal")).map_err(fault)?;
    }
    let _ = fs::remove_file(with_end(to, "-shm"));
    fs::rename(new, to).map_err(fault)?;
    file::on_disk(folder_of(to)).map_err(fault)?;
    Ok(has_previous.then_some(previous))
}

/// Gives a new file the owner of another one. An operator who is root must not take the database from its server.
fn keep_owner(new: &Path, of: &Path) -> io::Result<()> {
    let (known, own) = (of.metadata()?, new.metadata()?);
    if (known.uid(), known.gid()) == (own.uid(), own.gid()) {
        return Ok(());
    }
    chown(new, Some(known.uid()), Some(known.gid()))
}

/// Copies a locked file into a new one, on a file system without links. It reads the descriptor that has the lock: if this
/// process opened the file again and closed it, the lock would end.
fn copy_locked(mut locked: &File, to: &Path) -> io::Result<()> {
    let mut copy = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    io::copy(&mut locked, &mut copy)?;
    copy.sync_all()
}

/// Takes the lock of a SQLite file that no other process uses. SQLite locks parts of the file with the same kind of lock,
/// as long as a connection is open.
///
/// # Errors
///
/// If another process uses it.
fn lock(path: &Path) -> Result<Option<File>, String> {
    let opened = OpenOptions::new().read(true).write(true).open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{} cannot be opened: {error}", path.display())),
    };
    match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS) => Err(IN_USE.to_owned()),
        Err(error) => Err(format!("{} cannot be locked: {error}", path.display())),
    }
}

/// The time for the name of what a restore replaces.
fn time(format: &str) -> String {
    let now = clock::now().millis() / 1000;
    DateTime::from_timestamp(now, 0).unwrap_or_default().format(format).to_string()
}

/// A new name for the previous database, with the time.
fn name_of_previous(path: &Path) -> Result<PathBuf, String> {
    let time = time("%Y%m%d-%H%M%S");
    let name = path.file_name().ok_or_else(|| format!("{} has no name", path.display()))?;
    let name = format!("{}.before-restore-{time}", name.to_string_lossy());
    let mut previous = path.with_file_name(&name);
    for number in 2.. {
        if !previous.exists() {
            break;
        }
        previous = path.with_file_name(format!("{name}-{number}"));
    }
    Ok(previous)
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

/// The lines that restore a dump into a PostgreSQL database, without a password, and what to say about them.
///
/// pg_restore drops only the tables that the dump has. Those of a later release refer to them, so it would fail. Therefore
/// the first line moves all tables aside.
fn restoring(server: &PostgresUrl, file: &Path) -> Result<(String, String), String> {
    let name = file.to_str().ok_or("the name of the file is not UTF-8 text")?;
    let database = format!("--dbname={}", server.without_password());
    let (statements, [old, new]) = server.moving_aside(&time("_before_restore_%Y%m%d_%H%M%S"));
    let [moves, makes] = statements.map(|statement| format!("--command={statement}"));
    let words = ["psql", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1"];
    let moving = line(words.into_iter().chain([moves.as_str(), &makes, &database]))?;
    let words = ["pg_restore", "--clean", "--if-exists", "--no-owner", "--no-privileges"];
    let words = words.into_iter().chain(["--single-transaction", &database, name]);
    let restoring = line(words)?;
    let note = format!(
        "Stop the servers, run the lines above, then `tessera restore --after`, and start the servers again.\nnote: psql \
         moves everything in the schema {old}, also what belongs to other programs, into the schema {new}. Nothing is \
         deleted: drop that schema when you no longer need it. Permissions that other users have on {old} must be \
         granted again. psql needs the owner of the schema, who on PostgreSQL 13 and 14 is often an administrator. If \
         the database has no schema {old}, run pg_restore alone."
    );
    Ok((format!("{moving} &&\n{restoring}"), note))
}

/// A number with its noun.
fn number(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Prints what ended, and what an operator must look at.
fn report(report: &Report, kept: Kept) {
    let Report { epoch, sessions, grants, users, codes, mails, api_tokens, invitations } = report;
    if kept.sessions {
        print::line(
            "Sessions and access tokens were kept. Those that ended after the backup are alive again, unless a service \
             that follows the revocations knows of it.",
        );
    } else {
        print::line(format!(
            "Ended: {} and {} of applications. Access tokens that were issued until now are refused, for {}.",
            number(*sessions, "session"),
            number(*grants, "grant"),
            number(*users, "user"),
        ));
    }
    let waiting = if kept.mails {
        "Waiting mails were kept.".to_owned()
    } else {
        format!("Deleted: {}, probably sent already.", number(*mails, "waiting mail"))
    };
    print::line(format!(
        "{waiting} Deleted: {} of mails and applications.",
        number(*codes, "code")
    ));
    print::line(format!("The revocation feed continues in the epoch {epoch}."));
    print::line(format!(
        "Still valid: {} and {}, also those that were deleted after the backup.",
        number(*api_tokens, "API token"),
        number(*invitations, "invitation"),
    ));
    print::line(AS_IT_WAS);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_of_a_locked_file_does_not_end_its_lock() {
        let folder = tempfile::tempdir().unwrap();
        let (file, copy) = (folder.path().join("a"), folder.path().join("b"));
        fs::write(&file, "content").unwrap();
        let is_locked = || {
            let end = format!(":{} 0 EOF", file.metadata().unwrap().ino());
            let locks = fs::read_to_string("/proc/locks").unwrap();
            locks.lines().any(|lock| lock.contains("POSIX") && lock.ends_with(&end))
        };
        let locked = lock(&file).unwrap().unwrap();
        copy_locked(&locked, &copy).unwrap();
        assert!(is_locked());
        assert_eq!(fs::read_to_string(copy).unwrap(), "content");
        // Another descriptor ends it.
        drop(File::open(&file).unwrap());
        assert!(!is_locked());
        drop(locked);
    }
}
