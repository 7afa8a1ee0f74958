//! Numbers, sizes and times for people.

use std::time::{Duration, UNIX_EPOCH};

/// With a space between thousands: `12 345`.
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// In the largest unit of which there is one: `1.5 MiB`.
pub(super) fn bytes(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut value = bytes as f64;
    let mut shown = None;
    for unit in units {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        shown = Some(unit);
    }
    match shown {
        None => format!("{bytes} B"),
        Some(unit) => format!("{value:.1} {unit}"),
    }
}

/// A length of time: `3.20 ms`, `4.1 s`, `2 min 5 s`, `3 h 20 min`, `4 d 2 h`.
pub(super) fn span(ms: f64) -> String {
    let seconds = (ms / 1e3).round() as u64;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        _ if ms < 1e3 => format!("{ms:.2} ms"),
        0..60 => format!("{:.1} s", ms / 1e3),
        60..3600 => format!("{minutes} min {} s", seconds % 60),
        3600..86_400 => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

/// The same of whole milliseconds.
pub(super) fn whole_span(ms: u64) -> String {
    span(ms as f64)
}

/// A time: `2026-11-30 10:20:05.123`, in UTC.
pub(super) fn time(at_ms: u64) -> String {
    let at = UNIX_EPOCH.checked_add(Duration::from_millis(at_ms));
    // The library writes no year of five digits.
    let at = at.filter(|_| at_ms < 253_402_300_800_000);
    at.map_or_else(
        || format!("{at_ms} ms"),
        |at| {
            let text = humantime::format_rfc3339_millis(at).to_string();
            text.replace('T', " ").replace('Z', "")
        },
    )
}

/// `one` or `many`, after their number: `1 batch`, `2 batches`.
pub(super) fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", number(count), if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_numbers_sizes_and_times() {
        let numbers = [0, 999, 1000, 1_234_567].map(number);
        assert_eq!(
            numbers,
            ["0", "999", "1\u{202f}000", "1\u{202f}234\u{202f}567"]
        );
        let sizes = [0, 1023, 1024, 1_572_864, u64::MAX].map(bytes);
        assert_eq!(sizes, ["0 B", "1023 B", "1.0 KiB", "1.5 MiB", "16.0 EiB"]);
        let spans = [
            0.0,
            3.2,
            999.994,
            1000.0,
            59_400.0,
            125_000.0,
            12_000_000.0,
            354_000_000.0,
        ];
        let spans = spans.map(span);
        let expected = [
            "0.00 ms",
            "3.20 ms",
            "999.99 ms",
            "1.0 s",
            "59.4 s",
            "2 min 5 s",
            "3 h 20 min",
            "4 d 2 h",
        ];
        assert_eq!(spans, expected);
        assert_eq!(time(1_700_000_000_123), "2023-11-14 22:13:20.123");
        assert_eq!(time(u64::MAX), "18446744073709551615 ms");
        assert_eq!(counted(1, "batch", "batches"), "1 batch");
        assert_eq!(counted(0, "batch", "batches"), "0 batches");
    }
}
