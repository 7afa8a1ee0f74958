//! What a panel of the page consists of.

use crate::snapshot::Snapshot;
use maud::Markup;

/// A panel of the page.
pub(super) struct Panel {
    /// Its name in the page, and of its JSON twin.
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    /// What its chart shows, if it has one.
    pub(super) chart: Option<&'static str>,
    pub(super) sentence: fn(&Snapshot) -> String,
    pub(super) drawing: Option<fn(&Snapshot) -> Markup>,
    pub(super) table: fn(&Snapshot) -> Markup,
}
