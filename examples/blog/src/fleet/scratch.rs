//! A folder for all that a run with several processes writes, removed at its end; also when the driver is killed and cannot do it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use tempfile::TempDir;

use super::child::{Child, ourselves};

/// Named for the program.
const PREFIX: &str = concat!("larder-", env!("CARGO_PKG_NAME"), "-");

/// Drop it after everything that writes into it.
pub(crate) struct Scratch {
    // Before the folder, or it would remove what somebody else has made anew under the same name.
    _remover: Child,
    folder: TempDir,
}

impl Scratch {
    pub(crate) fn make() -> Result<Self> {
        let folder = TempDir::with_prefix(PREFIX).context("cannot make a temporary directory")?;
        let mut command = Command::new(ourselves()?);
        command.arg("keep").arg("--remove").arg("--folder").arg(folder.path());
        let remover = Child::start("the remover", &mut command, folder.path().join("remover.log"))?;
        Ok(Self { _remover: remover, folder })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A new folder inside.
    pub(super) fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.path().join(format!("{name}-{:08x}", fastrand::u32(..)));
        fs::create_dir(&folder).context("cannot make a temporary directory")?;
        Ok(folder)
    }
}
