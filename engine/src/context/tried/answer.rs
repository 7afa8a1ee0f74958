//! How a program answers to what its environment asks for: in a file.

use highwater_wal::disk::{Disk, OsDisk};
use serde::Serialize;
use std::io;
use std::path::{Path, PathBuf};

/// The absolute path that a variable of the environment holds.
pub(in crate::context) fn path(variable: &str) -> Option<PathBuf> {
    let value = std::env::var_os(variable)?;
    Some(PathBuf::from(value)).filter(|path| path.is_absolute())
}

/// Writes the answer, and says where it is, or why it is not there. The file appears when it is
/// whole.
pub(in crate::context) fn write(file: &Path, answer: &impl Serialize) -> String {
    let shown = file.display();
    match try_to_write(file, answer) {
        Ok(()) => format!("the answer is in {shown}"),
        Err(error) => format!("the answer could not be written to {shown}: {error}"),
    }
}

fn try_to_write(path: &Path, answer: &impl Serialize) -> io::Result<()> {
    let disk = OsDisk::new();
    let tmp = path.with_extension("tmp");
    let file = disk.create_new(&tmp)?;
    let text = serde_json::to_vec(answer)?;
    file.write_all_at(&text, 0)?;
    disk.rename(&tmp, path)
}
