//! The lock on the name of a SQLite database.
//!
//! SQLite locks a file after it has opened it. If another file gets the name between the two, a server would use the old
//! file together with the log of the new one. So everything that opens a database first shares the lock of a file beside
//! it. `tessera restore`, which gives the name to another file, takes that lock alone. 0.1.0 does not know it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

use super::DatabaseUrl;

/// The time between two attempts, and their number: 30 seconds, because a restore checks and copies the whole file.
const PAUSE: Duration = Duration::from_millis(50);
const ATTEMPTS: u32 = 600;

/// A lock on the name of a database. It ends when this is dropped.
#[derive(Debug)]
pub struct NameLock {
    _file: File,
}

impl NameLock {
    /// Shares the lock with everything else that opens the database, and waits while a restore has it. There is none for
    /// PostgreSQL, and none if the file of the lock cannot be opened: then SQLite says what is wrong with the folder.
    ///
    /// # Errors
    ///
    /// A sentence for the operator, if a restore takes too long.
    pub async fn share(database: &DatabaseUrl) -> Result<Option<Self>, String> {
        let DatabaseUrl::Sqlite(path) = database else { return Ok(None) };
        let Ok(file) = open(path) else { return Ok(None) };
        for attempt in 0..ATTEMPTS {
            match flock(&file, FlockOperation::NonBlockingLockShared) {
                Ok(()) => return Ok(Some(Self { _file: file })),
                Err(Errno::WOULDBLOCK) => {}
                // Some file systems have no such locks.
                Err(_) => return Ok(None),
            }
            if attempt == 0 {
                tracing::warn!("a restore replaces the database: waiting for its end");
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(format!(
            "`tessera restore` is replacing the database {}: wait for its end, and start this again",
            path.display()
        ))
    }

    /// Takes the lock alone, so that nothing can open the database. Returns `None` if something has opened it.
    ///
    /// # Errors
    ///
    /// If the file of the lock cannot be opened or locked.
    pub fn take(path: &Path) -> io::Result<Option<Self>> {
        let file = open(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// The file of the lock. It stays: if it were deleted, two processes could lock two files of this name.
fn file_of(path: &Path) -> PathBuf {
    // A link and the file that it leads to are one database.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let mut name = path.into_os_string();
    name.push("-lock");
    PathBuf::from(name)
}

fn open(path: &Path) -> io::Result<File> {
    let name = file_of(path);
    // Somebody who can write the folder must not lead this to another file.
    let no_link = OFlags::NOFOLLOW.bits().cast_signed();
    let existing = || OpenOptions::new().read(true).custom_flags(no_link).open(&name);
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&name);
    match made {
        Ok(file) => {
            // An operator who is root must not take the lock from the server.
            if let Ok(database) = path.metadata() {
                let _ = fchown(&file, Some(database.uid()), Some(database.gid()));
            }
            Ok(file)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => existing(),
        Err(error) => Err(error),
    }
}
