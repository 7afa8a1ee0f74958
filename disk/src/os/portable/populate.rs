//! Faulting pages in by their address: only Linux does it.

use std::fs::File;
use std::io;

/// Whether pages of `file` can be faulted in for writing in advance.
#[expect(
    clippy::unnecessary_wraps,
    reason = "as on Linux, where the question can fail"
)]
pub(crate) fn can_populate(_file: &File) -> io::Result<bool> {
    Ok(false)
}
