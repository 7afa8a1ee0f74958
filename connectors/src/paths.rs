//! Paths that a program names: resolved once, when it names them.

use std::path::{Path, PathBuf, absolute};

/// `path` from the root on. A later change of the working directory changes nothing then.
///
/// # Errors
/// If it is relative and there is no working directory (any more), in words with the path.
pub(crate) fn resolve(path: &Path) -> Result<PathBuf, String> {
    // `absolute` takes the empty path for a mistake; it is the working directory.
    let named = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    absolute(named).map_err(|e| {
        format!("{path:?} is relative and the working directory cannot be found: {e}; give an absolute path")
    })
}
