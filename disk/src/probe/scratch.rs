//! A directory for the files of a tool.
#![expect(clippy::disallowed_methods, reason = "this is the seam")]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A directory of a tool's own inside another one; it is removed, with everything in it, when this
/// is dropped.
#[derive(Debug)]
pub struct Scratch {
    dir: PathBuf,
}

impl Scratch {
    /// Makes a directory in `parent` whose name is `prefix` and the number of this process.
    ///
    /// # Errors
    /// Any I/O error; [`io::ErrorKind::AlreadyExists`] if one of that name was left by a process
    /// that was killed.
    pub fn create(parent: &Path, prefix: &str) -> io::Result<Self> {
        let dir = parent.join(format!("{prefix}-{}", std::process::id()));
        fs::create_dir(&dir)?;
        Ok(Self { dir })
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It was made by this process, and links in it are not followed.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

#[cfg(test)]
#[cfg_attr(miri, allow(unused, reason = "Miri has no such system calls"))]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "Miri has no such system calls")]
    fn a_scratch_directory_goes_with_everything_in_it() {
        let tmp = tempfile::tempdir().unwrap();
        {
            let scratch = Scratch::create(tmp.path(), "scratch").unwrap();
            fs::write(scratch.path().join("file"), "x").unwrap();
            fs::create_dir(scratch.path().join("dir")).unwrap();
            fs::write(scratch.path().join("dir/file"), "x").unwrap();
            assert!(Scratch::create(tmp.path(), "scratch").is_err());
        }
        assert_eq!(fs::read_dir(tmp.path()).unwrap().count(), 0);
    }
}
