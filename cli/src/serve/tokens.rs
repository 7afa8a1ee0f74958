//! The file with the tokens of clients.

use highwater_disk::{Access, Disk, OsDisk};
use highwater_log::outcome::{Failure, Result};
use std::path::Path;

/// The tokens of a file: a name and a secret in each line.
pub(crate) fn read(path: &Path) -> Result<Vec<(String, String)>> {
    let shown = path.display();
    let text = text_of(path).map_err(|e| Failure::Io(format!("{shown}: {e}")))?;
    let mut tokens = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((name, secret)) = line.trim().split_once(' ') else {
            let number = number + 1;
            return Err(Failure::Usage(format!(
                "{shown}:{number}: a line must have a name, a space and a secret"
            )));
        };
        tokens.push((name.to_owned(), secret.trim().to_owned()));
    }
    match tokens.is_empty() {
        true => Err(Failure::Usage(format!("{shown} has no token"))),
        false => Ok(tokens),
    }
}

/// No file of tokens is longer.
const MAX_TOKENS_BYTES: usize = 1 << 20;

fn text_of(path: &Path) -> std::io::Result<String> {
    let invalid = |what: String| std::io::Error::new(std::io::ErrorKind::InvalidData, what);
    let file = OsDisk::new().open(path, Access::Read)?;
    let mut bytes = vec![0; MAX_TOKENS_BYTES + 1];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, filled as u64)? {
            0 => break,
            read => filled += read,
        }
    }
    if filled > MAX_TOKENS_BYTES {
        return Err(invalid(format!(
            "it has more than {MAX_TOKENS_BYTES} bytes"
        )));
    }
    bytes.truncate(filled);
    String::from_utf8(bytes).map_err(|_| invalid("it is not UTF-8".to_owned()))
}
