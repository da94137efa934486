//! One run at a time for a database file: a second one would replace it under the first one's hands, and a cache
//! of the one would know nothing of what the other writes.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use anyhow::{Context, Result, bail};

/// The system lets go of the lock when the run ends, however it ends.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "held, not used")] File);

impl Lock {
    /// `path` is an empty file that stays: if it were removed, one run could hold the removed file and the next one
    /// a new file of the same name.
    pub(crate) fn take(path: &Path, database: &Path) -> Result<Self> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path);
        let file = file.with_context(|| format!("cannot open the lock {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => bail!(
                "{} is in use by another run of this program; stop that one first, or name another file",
                database.display()
            ),
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot lock {}", path.display()))
            }
        }
    }
}
