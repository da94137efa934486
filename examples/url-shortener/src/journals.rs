//! Where clicks wait until the database has them. This is the one place that says which journal that is.
//!
//! Files of this machine, here: a click is answered when it is on the disk, and belongs to the process that has the
//! folder. Several processes that share their clicks would want a journal that they share.

use std::path::{Path, PathBuf};

use larder::journal::LocalLog;

use crate::clicks::{Click, ClickId};
use crate::link_id::LinkId;

pub(crate) struct Journals(PathBuf);

impl Journals {
    pub(crate) fn in_folder(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    /// Of rows.
    pub(crate) fn clicks(&self) -> LocalLog<ClickId, Click> {
        LocalLog::at(self.0.join("clicks.journal"))
    }

    /// Of what is added to counts.
    pub(crate) fn counts(&self) -> LocalLog<LinkId, i64> {
        LocalLog::at(self.0.join("counts.journal"))
    }
}
