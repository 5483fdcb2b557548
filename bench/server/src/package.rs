//! The size of deployment packages.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use anyhow::{Context, Result};
use flate2::{Compression, write::DeflateEncoder};

/// Bytes that a ZIP archive has for each file besides its data, and twice its name.
const ENTRY_BYTES: u64 = 76;

/// A writer that only counts.
#[derive(Default)]
struct Count(u64);

impl io::Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the size in bytes of a ZIP archive with this file, or with all files of this folder.
pub(crate) fn zipped_bytes(path: &Path) -> Result<u64> {
    let unreadable = || format!("cannot read {}", path.display());
    if path.is_dir() {
        let mut bytes = 0;
        for entry in fs::read_dir(path).with_context(unreadable)? {
            bytes += zipped_bytes(&entry?.path())?;
        }
        return Ok(bytes);
    }
    let mut encoder = DeflateEncoder::new(Count::default(), Compression::default());
    io::copy(&mut File::open(path).with_context(unreadable)?, &mut encoder).with_context(unreadable)?;
    Ok(encoder.finish()?.0 + ENTRY_BYTES + 2 * path.as_os_str().len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_as_large_as_its_compressed_files() {
        let folder = std::env::temp_dir().join(format!("bench-package-{}", std::process::id()));
        fs::create_dir_all(folder.join("inside")).expect("a folder");
        fs::write(folder.join("a"), vec![7; 1_000_000]).expect("a file");
        let one = zipped_bytes(&folder).expect("it is there");
        assert!((500..2_000).contains(&one), "{one}");
        fs::write(folder.join("inside/b"), vec![7; 1_000_000]).expect("a file");
        assert!((2 * one..2 * one + 100).contains(&zipped_bytes(&folder).expect("it is there")));
        fs::remove_dir_all(folder).expect("it is there");
    }
}
