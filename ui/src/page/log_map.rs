//! The log as a drawing: its segments in a row, as long as they are, and from where on each holder
//! keeps it.

use crate::snapshot::Snapshot;
use maud::{Markup, html};

/// The drawing in its own units.
const WIDTH: f64 = 1000.0;
const BAR: f64 = 28.0;
const LINE: f64 = 16.0;
/// The first holders; the table has all of them.
const HOLDS: usize = 8;

pub(super) fn draw(now: &Snapshot) -> Markup {
    let log = &now.log;
    let (Some(first), Some(last)) = (log.segments.first(), log.segments.last()) else {
        return html! {};
    };
    let length = last.end.saturating_sub(first.base).max(1) as f64;
    let x = |lsn: u64| {
        let at = lsn.clamp(first.base, last.end) - first.base;
        (at as f64 / length * WIDTH * 10.0).round() / 10.0
    };
    let holds = log.holds.iter().take(HOLDS).enumerate();
    let rows = log.holds.len().min(HOLDS) as f64;
    let height = BAR + 8.0 + rows * LINE;
    html! {
        svg viewBox=(format!("0 0 {WIDTH} {height}")) role="img" class="log-map"
            aria-label="The segments of the log, the oldest at the left, and who keeps it from where on" {
            @for segment in &log.segments {
                @let left = x(segment.base);
                rect class=(if segment.is_tail { "segment tail" } else { "segment" })
                    x=(left) y="0" height=(BAR) width=((x(segment.end) - left - 1.0).max(0.5)) {
                    title { "segment " (segment.base) }
                }
            }
            rect class="written" x=(x(log.first_lsn)) y=(BAR - 6.0) height="6"
                width=((x(log.end_lsn) - x(log.first_lsn)).max(0.5)) { title { "the log" } }
            @for (row, hold) in holds {
                @let top = BAR + 8.0 + row as f64 * LINE;
                line class="hold" x1=(x(hold.lsn)) x2=(WIDTH) y1=(top + 6.0) y2=(top + 6.0) {}
                text class="hold-name" x=(WIDTH - 4.0) y=(top + 3.0) text-anchor="end" { (hold.name) }
            }
        }
    }
}
