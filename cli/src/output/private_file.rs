//! Files that hold payloads: only their owner may read them. What exists already keeps its mode.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::Path,
};

/// Returns options to which the way of opening is added.
pub(crate) fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

/// Makes a folder, and those above it that are missing.
pub(crate) fn create_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Why a file cannot be appended to.
#[derive(Debug)]
pub(crate) enum AppendError {
    Io(io::Error),
    /// A device, a folder, or a link.
    NotRegular,
}

/// Opens a regular file to be read and appended to, or makes it. Devices are not opened at all, and links are not followed: the
/// file will be written and cut, or deleted.
pub(crate) fn open_to_append(path: &Path) -> Result<File, AppendError> {
    let mut options = options();
    options.read(true).append(true);
    match options.clone().create_new(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        opened => return opened.map_err(AppendError::Io),
    }
    let named = fs::symlink_metadata(path).map_err(AppendError::Io)?;
    if !named.is_file() {
        return Err(AppendError::NotRegular);
    }
    let file = options.open(path).map_err(AppendError::Io)?;
    let opened = file.metadata().map_err(AppendError::Io)?;
    // Something else may have got the name in the meantime.
    match (opened.dev(), opened.ino()) == (named.dev(), named.ino()) {
        true => Ok(file),
        false => Err(AppendError::NotRegular),
    }
}
