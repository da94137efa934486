//! The database file: where it is, whether we may replace what lies there, and that nobody else is at it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::lock::Lock;

/// Written into the header of every database this program makes (`PRAGMA application_id`): "LBlg".
pub(crate) const OURS: u32 = 0x4c42_6c67;

/// Written there as `PRAGMA user_version` when all content is in.
pub(crate) const FILLED: u32 = 1;

/// What SQLite may leave beside a database.
const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// What we leave beside a database.
const LOCK: &str = "-lock";

#[derive(Debug)]
pub(crate) struct DatabaseFile {
    path: PathBuf,
    /// Removed when dropped; `None` when the caller chose the path, for then the file is theirs to look at.
    _scratch: Option<TempDir>,
    /// Nobody else knows of a scratch directory.
    _lock: Option<Lock>,
}

impl DatabaseFile {
    pub(crate) fn choose(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path else {
            let scratch =
                TempDir::with_prefix("larder-blog-").context("cannot make a directory for the database")?;
            let path = scratch.path().join("blog.db");
            return Ok(Self { path, _scratch: Some(scratch), _lock: None });
        };
        refuse_what_is_not_ours(path)?;
        let lock = Lock::take(&beside(path, LOCK), path)?;
        Ok(Self { path: path.to_owned(), _scratch: None, _lock: Some(lock) })
    }

    /// One that the run which started us looks after: it holds the lock, or nobody else knows of the file.
    pub(crate) fn looked_after(path: &Path) -> Self {
        Self { path: path.to_owned(), _scratch: None, _lock: None }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a whole blog is there. A file that was given up half-way, or none, is not.
    pub(crate) fn is_filled(&self) -> Result<bool> {
        match header(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", self.path.display())),
            Ok(header) => Ok(is_ours(&header) && header.get(60..64) == Some(&FILLED.to_be_bytes())),
        }
    }

    /// Removes what is there, so that a version starts from nothing.
    pub(crate) fn clear(&self) -> Result<()> {
        // Asked again, right before: minutes may have passed since the path was chosen.
        refuse_what_is_not_ours(&self.path)?;
        for path in COMPANIONS.map(|suffix| beside(&self.path, suffix)).iter().chain([&self.path]) {
            remove(path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
        Ok(())
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

fn refuse_what_is_not_ours(path: &Path) -> Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => refuse_a_bad_place(path),
        Err(error) => Err(error).with_context(|| format!("cannot look at {}", path.display())),
        Ok(found) if !found.is_file() => bail!("{} is not a plain file; name a file", path.display()),
        Ok(_) if is_ours(&header(path).with_context(|| format!("cannot read {}", path.display()))?) => Ok(()),
        Ok(_) => bail!(
            "{} exists and was not made by this program; it is left alone. Name another file, or remove it first",
            path.display()
        ),
    }
}

fn refuse_a_bad_place(path: &Path) -> Result<()> {
    let directory = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => bail!("{} is not the name of a file", path.display()),
    };
    if !directory.is_dir() {
        bail!("there is no directory {}; make it first", directory.display());
    }
    for companion in COMPANIONS.map(|suffix| beside(path, suffix)) {
        if companion.exists() {
            bail!("{} exists without its database; it is left alone. Name another file", companion.display());
        }
    }
    Ok(())
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// Reads the header by hand: opening the file as a database could already change it.
fn header(path: &Path) -> io::Result<Vec<u8>> {
    let mut header = Vec::new();
    File::open(path)?.take(72).read_to_end(&mut header)?;
    Ok(header)
}

fn is_ours(header: &[u8]) -> bool {
    header.starts_with(b"SQLite format 3\0") && header.get(68..72) == Some(&OURS.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(path: &Path) -> String {
        DatabaseFile::choose(Some(path)).unwrap_err().to_string()
    }

    #[test]
    fn a_file_of_somebody_else_is_left_alone() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("theirs.db");
        for theirs in [&b"dear diary"[..], b"", b"SQLite format 3\0", &[0; 100]] {
            fs::write(&path, theirs).unwrap();
            assert!(refusal(&path).contains("was not made by this program"));
            assert_eq!(fs::read(&path).unwrap(), theirs);
        }
    }

    fn ours(filled: u32) -> [u8; 100] {
        let mut header = [0; 100];
        header[..16].copy_from_slice(b"SQLite format 3\0");
        header[60..64].copy_from_slice(&filled.to_be_bytes());
        header[68..72].copy_from_slice(&OURS.to_be_bytes());
        header
    }

    #[test]
    fn our_own_file_is_replaced_with_its_companions() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("ours.db");
        fs::write(&path, ours(0)).unwrap();
        fs::write(beside(&path, "-wal"), "").unwrap();
        DatabaseFile::choose(Some(&path)).unwrap().clear().unwrap();
        let left: Vec<_> =
            fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(left, [beside(&path, LOCK)]);
    }

    #[test]
    fn a_second_run_waits_its_turn() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("blog.db");
        let first = DatabaseFile::choose(Some(&path)).unwrap();
        assert!(refusal(&path).contains("is in use by another run"), "{}", refusal(&path));
        drop(first);
        DatabaseFile::choose(Some(&path)).unwrap();
    }

    #[test]
    fn a_file_given_up_half_way_is_not_a_blog() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("blog.db");
        let file = DatabaseFile::choose(Some(&path)).unwrap();
        assert!(!file.is_filled().unwrap());
        for (mark, filled) in [(0, false), (FILLED, true)] {
            fs::write(&path, ours(mark)).unwrap();
            assert_eq!(file.is_filled().unwrap(), filled);
        }
    }

    #[test]
    fn a_bad_place_is_refused_with_its_name() {
        let directory = TempDir::new().unwrap();
        assert!(refusal(directory.path()).contains("is not a plain file"));
        assert!(refusal(&directory.path().join("no/blog.db")).contains("there is no directory"));
        fs::write(directory.path().join("blog.db-wal"), "").unwrap();
        assert!(refusal(&directory.path().join("blog.db")).contains("without its database"));
    }

    #[test]
    fn the_scratch_directory_goes_with_the_file() {
        let file = DatabaseFile::choose(None).unwrap();
        let directory = file.path().parent().unwrap().to_owned();
        assert!(directory.is_dir());
        drop(file);
        assert!(!directory.exists());
    }
}
