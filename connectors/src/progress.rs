//! How far a recovery is, for people at a terminal.

use highwater_engine::{Builder, ContextEvent};
use std::io::{self, IsTerminal, Write};
use std::sync::Mutex;

/// The bar has so many places.
const WIDTH: u64 = 30;

/// Shows on the standard error how far a recovery is, if that is a terminal: one line, which is
/// written again as batches are replayed. Without a terminal, and without anything to replay,
/// nothing is written.
///
/// ```
/// use highwater_connectors::show_recovery;
/// use highwater_connectors::engine::StreamingContext;
/// let builder = show_recovery(StreamingContext::builder("app.d"));
/// ```
#[must_use]
pub fn show_recovery(builder: Builder) -> Builder {
    if !io::stderr().is_terminal() {
        return builder;
    }
    let bar = Mutex::new(Bar::new(io::stderr()));
    builder.listener(move |event| {
        if let Ok(mut bar) = bar.lock() {
            bar.on_event(event);
        }
    })
}

/// The line of a recovery.
#[derive(Debug)]
struct Bar<W> {
    out: W,
    /// The percentage that is shown.
    shown: Option<u64>,
}

impl<W: Write> Bar<W> {
    fn new(out: W) -> Self {
        Self { out, shown: None }
    }

    fn on_event(&mut self, event: &ContextEvent) {
        let ContextEvent::RecoveryProgress { done, of } = event else {
            return;
        };
        let (done, of) = (*done, (*of).max(1));
        let percent = done.saturating_mul(100) / of;
        if self.shown == Some(percent) {
            return;
        }
        self.shown = Some(percent);
        let full = percent.min(100) * WIDTH / 100;
        let places = (0..WIDTH).map(|place| if place < full { '#' } else { '-' });
        let bar: String = places.collect();
        let end = if done >= of { "\n" } else { "" };
        let line = format!("\rrecovery [{bar}] {done} of {of} batches{end}");
        // A terminal that is gone is no reason to stop a recovery.
        let _gone = self
            .out
            .write_all(line.as_bytes())
            .and_then(|()| self.out.flush());
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test code")]
mod tests {
    use super::*;

    fn shown(events: impl IntoIterator<Item = (u64, u64)>) -> Vec<String> {
        let mut bar = Bar::new(Vec::new());
        bar.on_event(&ContextEvent::Started);
        for (done, of) in events {
            bar.on_event(&ContextEvent::RecoveryProgress { done, of });
        }
        let text = String::from_utf8(bar.out).unwrap();
        text.split('\r').skip(1).map(str::to_owned).collect()
    }

    #[test]
    fn one_line_is_written_again_and_ends_with_the_recovery() {
        let lines = shown([(1, 3), (2, 3), (3, 3)]);
        let expected = [
            "recovery [#########---------------------] 1 of 3 batches",
            "recovery [###################-----------] 2 of 3 batches",
            "recovery [##############################] 3 of 3 batches\n",
        ];
        assert_eq!(lines, expected);
        assert_eq!(shown([]), [] as [String; 0]);
    }

    #[test]
    fn many_batches_write_a_line_for_each_percent() {
        let lines = shown((1..=100_000).map(|done| (done, 100_000)));
        assert_eq!(lines.len(), 101);
        assert!(
            lines
                .last()
                .unwrap()
                .ends_with("100000 of 100000 batches\n")
        );
    }
}
