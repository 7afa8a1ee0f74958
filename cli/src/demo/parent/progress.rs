//! What the demo shows while it runs: a bar on a terminal, plain lines elsewhere. On standard
//! error.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};

/// Without a terminal, progress is printed this many times.
const PARTS: u64 = 10;

/// The display.
pub(crate) struct Progress {
    total: u64,
    bar: Option<ProgressBar>,
    told: AtomicU64,
}

impl Progress {
    /// A display of a run over `total` lines.
    pub(crate) fn new(total: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(total);
            let template = "{bar:40} {human_pos} of {human_len} lines acknowledged, {elapsed}";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar
        });
        Self {
            total,
            bar,
            told: AtomicU64::new(0),
        }
    }

    /// The first so many lines are acknowledged.
    pub(crate) fn acknowledged(&self, lines: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(lines);
            return;
        }
        let part = (lines * PARTS).checked_div(self.total).unwrap_or(0);
        if self.told.fetch_max(part, Ordering::Relaxed) < part {
            eprintln!("{:3} %  {lines} lines acknowledged", part * 100 / PARTS);
        }
    }

    /// Shows an event.
    pub(crate) fn event(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => eprintln!("       {text}"),
        }
    }

    /// The run is over.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
