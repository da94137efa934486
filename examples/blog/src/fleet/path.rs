//! Where the programs are that we start.

use std::env;
use std::path::PathBuf;

/// One that everybody may call.
pub(super) fn find(program: &str) -> Option<PathBuf> {
    find_in(env::split_paths(&env::var_os("PATH").unwrap_or_default()), program)
}

/// The first of `folders` that has it.
pub(super) fn find_in(folders: impl IntoIterator<Item = PathBuf>, program: &str) -> Option<PathBuf> {
    folders.into_iter().map(|folder| folder.join(program)).find(|file| file.is_file())
}
