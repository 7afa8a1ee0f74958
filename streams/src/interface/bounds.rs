//! How long the texts of a request may be.

use crate::interface::refusal::Refusal;

/// Names of streams.
pub(crate) const MAX_NAME_BYTES: usize = 1024;
/// Content types, ids of producers, sequences, points in time.
pub(crate) const MAX_TEXT_BYTES: usize = 512;

/// # Errors
/// [`Refusal::BadText`].
pub(crate) fn check_text(what: &'static str, text: &[u8], most: usize) -> Result<(), Refusal> {
    match text.len() {
        len if (1..=most).contains(&len) => Ok(()),
        _ => Err(Refusal::BadText { what, most }),
    }
}
