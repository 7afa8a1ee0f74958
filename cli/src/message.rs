//! Messages of this command.

use highwater_log::output;

/// A message on standard error.
pub(crate) fn tell(text: impl AsRef<str>) {
    output::tell("highwater", text);
}
