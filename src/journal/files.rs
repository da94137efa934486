//! The files of a directory, as a disk. Unix only: elsewhere a directory cannot be synced.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::disk::Disk;
use super::fault::{Doing, Fault};

/// The file that is locked while a log is open. Its content does not matter, and it stays: to remove a lock file is to let
/// a third in beside one who holds the removed one.
const LOCK: &str = "lock";
/// Only the owner: what is pending is as confidential as what is stored.
const OWNERS_FILE: u32 = 0o600;
const OWNERS_DIRECTORY: u32 = 0o700;
/// Longer than it takes to look whether a log is open.
const A_LOOK: Duration = Duration::from_millis(20);

/// A directory that nobody else has open.
#[derive(Debug)]
pub struct Files {
    path: PathBuf,
    directory: File,
    /// The file that was written to last.
    current: Option<(String, File)>,
    /// Held, not used. The system frees it with the process, however that ends.
    _lock: File,
}

impl Files {
    /// Locks the directory at `path`. If there is none it is made, for its owner only; the one above must be there.
    ///
    /// # Errors
    ///
    /// [`Fault::InUse`] if somebody has it, in this process or another; [`Fault::Disk`] if it cannot be made or locked.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Fault> {
        let path = path.as_ref();
        let failed = |error: io::Error| Doing::Open.failed(&error);
        let make = || {
            make_directory(path)?;
            let lock = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(OWNERS_FILE)
                .open(path.join(LOCK))?;
            Ok((File::open(path)?, lock))
        };
        let (directory, lock) = make().map_err(failed)?;
        take(&lock)?;
        Ok(Self { path: path.to_owned(), directory, current: None, _lock: lock })
    }

    /// One that is open is used on: only it is told of an earlier failure to write.
    fn file(&mut self, name: &str) -> io::Result<&mut File> {
        let file = match self.current.take() {
            Some((current, file)) if current == name => file,
            _ => OpenOptions::new().append(true).open(self.path.join(name))?,
        };
        Ok(&mut self.current.insert((name.to_owned(), file)).1)
    }
}

/// Asks a second time: somebody may only have [looked](is_open).
fn take(lock: &File) -> Result<(), Fault> {
    let ask = || flock(lock, FlockOperation::NonBlockingLockExclusive);
    let asked_again = || {
        std::thread::sleep(A_LOOK);
        ask()
    };
    match ask().or_else(|_| asked_again()) {
        Ok(()) => Ok(()),
        Err(Errno::WOULDBLOCK) => Err(Fault::InUse),
        Err(error) => Err(Doing::Open.failed(&error.into())),
    }
}

/// Whether somebody has the directory at `path` locked. This holds the lock for a moment itself, shared with others who
/// look: the system has no other way to ask.
pub(super) fn is_open(path: &Path) -> Result<bool, Fault> {
    let failed = |error: io::Error| Doing::Open.failed(&error);
    fs::metadata(path).map_err(failed)?;
    let lock = match File::open(path.join(LOCK)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        lock => lock.map_err(failed)?,
    };
    match flock(&lock, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(false),
        Err(Errno::WOULDBLOCK) => Ok(true),
        Err(error) => Err(failed(error.into())),
    }
}

/// The names of the files in the directory at `path`. One that is no text is no file of a log.
pub(super) fn names(path: &Path) -> io::Result<Vec<String>> {
    let names = fs::read_dir(path)?.map(|entry| Ok(entry?.file_name().into_string().ok()));
    names.filter_map(Result::transpose).collect()
}

/// A directory's own name is in the one above, and as durable as that.
fn make_directory(path: &Path) -> io::Result<()> {
    if path.join(LOCK).try_exists()? {
        return Ok(());
    }
    match DirBuilder::new().mode(OWNERS_DIRECTORY).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    File::open(fs::canonicalize(path)?.parent().unwrap_or(path))?.sync_all()
}

impl Disk for Files {
    fn list(&self) -> io::Result<Vec<String>> {
        names(&self.path)
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.path.join(name))
    }

    fn create(&mut self, name: &str) -> io::Result<()> {
        let file =
            OpenOptions::new().append(true).create_new(true).mode(OWNERS_FILE).open(self.path.join(name))?;
        self.current = Some((name.to_owned(), file));
        Ok(())
    }

    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.file(name)?.write_all(bytes)
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.file(name)?.sync_data()
    }

    fn sync_directory(&mut self) -> io::Result<()> {
        self.directory.sync_all()
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))?;
        if let Some((name, _)) = self.current.as_mut().filter(|(name, _)| name == from) {
            to.clone_into(name);
        }
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::journal::segments::Segments;

    /// A directory of a test's own, gone with it.
    struct Place(PathBuf);

    impl Place {
        fn new(test: &str) -> Self {
            let path = std::env::temp_dir().join(format!("larder-{test}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn log(&self) -> PathBuf {
            self.0.join("log")
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_log_in_files_rolls_trims_and_is_found_again() {
        let place = Place::new("found-again");
        let (mut log, records, _) = Segments::open(Files::open(place.log()).unwrap(), 100).unwrap();
        assert!(records.is_empty());
        for turn in 0..10_u8 {
            assert_eq!(log.append(&[vec![turn; 20]]), Ok(u64::from(turn) + 1));
            log.sync().unwrap();
        }
        log.trim(5).unwrap();
        let kept = log.len();
        drop(log);
        let (mut log, records, recovered) = Segments::open(Files::open(place.log()).unwrap(), 100).unwrap();
        assert_eq!((records.len() as u64, recovered.cut), (kept, 0));
        assert_eq!(records.last().map(|last| &last.payload[..]), Some(&[9; 20][..]));
        assert_eq!(log.append(&[b"on"]), Ok(11));
    }

    #[test]
    fn only_one_may_have_it() {
        let place = Place::new("only-one");
        let first = Files::open(place.log()).unwrap();
        assert_eq!(Files::open(place.log()).unwrap_err(), Fault::InUse);
        drop(first);
        Files::open(place.log()).unwrap();
    }

    #[test]
    fn a_look_tells_who_has_it_and_keeps_nobody_out() {
        let place = Place::new("look");
        assert!(matches!(is_open(&place.log()), Err(Fault::Disk { kind: io::ErrorKind::NotFound, .. })));
        let open = Files::open(place.log()).unwrap();
        assert_eq!((is_open(&place.log()), is_open(&place.log())), (Ok(true), Ok(true)));
        drop(open);
        assert_eq!(is_open(&place.log()), Ok(false));
        Files::open(place.log()).unwrap();
    }

    #[test]
    fn nobody_but_the_owner_reads_it() {
        let place = Place::new("owner");
        let (mut log, ..) = Segments::open(Files::open(place.log()).unwrap(), 100).unwrap();
        log.append(&[[7; 60]; 3]).unwrap();
        log.sync().unwrap();
        log.mark(2).unwrap();
        assert_eq!(fs::read_dir(place.log()).unwrap().count(), 5, "lock, three segments, mark");
        assert_eq!(mode(&place.log()), OWNERS_DIRECTORY);
        for file in fs::read_dir(place.log()).unwrap() {
            assert_eq!(mode(&file.unwrap().path()), OWNERS_FILE);
        }
        drop(log);
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_a_fault() {
        let place = Place::new("cannot");
        let fault = Files::open(place.0.join("missing").join("log")).unwrap_err();
        assert!(matches!(fault, Fault::Disk { doing: Doing::Open, kind: io::ErrorKind::NotFound, .. }));
    }
}
