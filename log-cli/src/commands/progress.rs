//! A bar on standard error, if that is a terminal.

use highwater_wal::inspect;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;

/// Shows how far a command has come, but only on a terminal. Removed when dropped.
pub(crate) struct Progress(Option<ProgressBar>);

impl Progress {
    pub(crate) fn new() -> Self {
        Self(std::io::stderr().is_terminal().then(bar))
    }

    pub(crate) fn show(&self, progress: inspect::Progress) {
        if let Some(bar) = &self.0 {
            bar.set_length(progress.bytes_total);
            bar.set_position(progress.bytes_done);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) =
        ProgressStyle::with_template("{bar:40} {binary_bytes} of {binary_total_bytes}, {eta} left")
    {
        bar.set_style(style);
    }
    bar
}
