//! The block devices under a directory: not known on systems other than Linux.

use crate::os::write_cache::WriteCache;
use std::convert::Infallible;
use std::fs;
use std::io;
use std::path::Path;

/// The block devices under a directory, down to the ones that hold the data. None is known here.
#[derive(Debug, Clone)]
pub struct Device(Infallible);

impl Device {
    /// `None`: which devices `dir` lies on is not known on this system.
    ///
    /// # Errors
    /// Any I/O error of `dir` itself.
    pub fn of(dir: &Path) -> io::Result<Option<Self>> {
        fs::metadata(dir).map(|_| None)
    }

    /// The names of the devices.
    #[must_use]
    pub fn name(&self) -> String {
        match self.0 {}
    }

    /// How many flushes the devices have done since they were started.
    #[must_use]
    pub fn flushes(&self) -> Option<u64> {
        match self.0 {}
    }

    /// Whether one of them has a cache that must be flushed.
    #[must_use]
    pub fn write_cache(&self) -> WriteCache {
        match self.0 {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_device_is_known_but_a_missing_directory_is_told_of() {
        let tmp = tempfile::tempdir().unwrap();
        assert!(Device::of(tmp.path()).unwrap().is_none());
        let error = Device::of(&tmp.path().join("missing")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
