//! What a log does to its files. One small trait, so that a log can be run on a disk that loses power at any moment.

use std::io;

/// The files of one directory, that only one log has open.
pub trait Disk {
    /// The names of all files.
    ///
    /// # Errors
    ///
    /// As the operating system says.
    fn list(&self) -> io::Result<Vec<String>>;

    /// All bytes of a file.
    ///
    /// # Errors
    ///
    /// As the operating system says.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;

    /// Makes an empty file. There must be none of this name.
    ///
    /// # Errors
    ///
    /// As the operating system says.
    fn create(&mut self, name: &str) -> io::Result<()>;

    /// Writes to the end of a file.
    ///
    /// # Errors
    ///
    /// As the operating system says. Any part of `bytes` may have been written.
    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Puts all that was written to a file on stable storage; not its name.
    ///
    /// # Errors
    ///
    /// As the operating system says. What was written since the last time may then never get there, and a second call
    /// may say that it has: the system forgets what it could not write.
    fn sync(&mut self, name: &str) -> io::Result<()>;

    /// Puts what files there are, and what they are called, on stable storage.
    ///
    /// # Errors
    ///
    /// As the operating system says.
    fn sync_directory(&mut self) -> io::Result<()>;

    /// Gives a file another name, and drops the file that had it.
    ///
    /// # Errors
    ///
    /// As the operating system says.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    ///
    /// As the operating system says.
    fn remove(&mut self, name: &str) -> io::Result<()>;
}
