//! Values as text.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// `1234567` as `1,234,567`.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Numbers with commas between them; `-` if there are none.
pub fn numbers(numbers: &[u64]) -> String {
    let numbers: Vec<String> = numbers.iter().map(u64::to_string).collect();
    match numbers.is_empty() {
        true => "-".to_owned(),
        false => numbers.join(", "),
    }
}

/// A time in UTC, as RFC 3339 has it, to the millisecond.
pub fn time(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}

/// A number of bytes with a binary unit and one decimal.
pub fn bytes(n: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    for (unit, shift) in units {
        if n >> shift > 0 {
            let tenths = (u128::from(n) * 10) >> shift;
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
    }
    format!("{n} B")
}

/// A duration in milliseconds with one decimal.
pub fn millis(time: Duration) -> String {
    let tenths = time.as_micros() / 100;
    format!("{}.{} ms", tenths / 10, tenths % 10)
}

/// Nanoseconds as microseconds with one decimal.
#[expect(clippy::cast_precision_loss, reason = "a time for people")]
pub fn micros(nanos: u64) -> f64 {
    (nanos as f64 / 100.0).round() / 10.0
}

/// Milliseconds since the Unix epoch as UTC: `2026-11-20T11:08:03.123Z`.
pub fn utc(ms: u64) -> String {
    let (days, in_day) = (ms / 86_400_000, ms % 86_400_000);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (in_day / 3_600_000, in_day / 60_000 % 60, in_day / 1000 % 60);
    format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z",
        in_day % 1000
    )
}

/// The date of a day since 1970-01-01 (Howard Hinnant, "chrono-compatible low-level date
/// algorithms").
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

/// Bytes on one line: text as it is, hidden characters, backslashes and what is not UTF-8 escaped.
pub fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if is_hidden(c) || c == '\\' {
                text.extend(c.escape_default());
            } else {
                text.push(c);
            }
        }
        for byte in chunk.invalid() {
            let _infallible = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// Text with hidden characters escaped, so that it stays on its line, does nothing to a terminal,
/// and looks like what it is.
pub fn printable(text: &str) -> String {
    shown(text, is_hidden)
}

/// Several lines of text, or columns, with all other hidden characters escaped.
pub fn printable_lines(text: &str) -> String {
    shown(text, |c| is_hidden(c) && !matches!(c, '\n' | '\t'))
}

fn shown(text: &str, hide: impl Fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if hide(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Control characters (C0, DEL, C1), and characters that cannot be seen or that move others:
/// bidirectional controls, characters of no width, fillers, tags, line separators.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180e}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e007f}')
}

/// Whether bytes are text to look at: UTF-8, and no control characters but tabs and ends of lines.
pub fn is_printable(bytes: &[u8]) -> bool {
    let control = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r');
    std::str::from_utf8(bytes).is_ok_and(|text| !text.contains(control))
}

/// The first `limit` bytes, or a little less: not a part of a character.
pub fn cut(bytes: &[u8], limit: usize) -> &[u8] {
    let Some(head) = bytes.get(..limit) else {
        return bytes;
    };
    let end = match std::str::from_utf8(head) {
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        _ => limit,
    };
    head.get(..end).unwrap_or(head)
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
            let _infallible = write!(text, "{byte:02x}");
            text
        })
}

/// Bytes in base64 (RFC 4648, with padding).
pub fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = group
            .iter()
            .fold(0_u32, |bits, b| (bits << 8) | u32::from(*b))
            << (8 * (3 - group.len()));
        for place in 0..4 {
            let six = (bits >> (18 - 6 * place)) & 63;
            let digit = usize::try_from(six).ok().and_then(|six| BASE64.get(six));
            text.push(if place > group.len() {
                '='
            } else {
                digit.copied().map_or('=', char::from)
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_sizes() {
        assert_eq!(
            [grouped(0), grouped(999), grouped(1_234_567)],
            ["0", "999", "1,234,567"]
        );
        assert_eq!([numbers(&[]), numbers(&[7, 8])], ["-", "7, 8"]);
        assert_eq!(
            [bytes(1023), bytes(1536), bytes(1 << 30)],
            ["1023 B", "1.5 KiB", "1.0 GiB"]
        );
        assert_eq!(millis(Duration::from_micros(12_345)), "12.3 ms");
    }

    #[test]
    fn dates() {
        assert_eq!(utc(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(utc(951_782_399_999), "2000-02-28T23:59:59.999Z");
        assert_eq!(utc(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(utc(1_795_172_883_123), "2026-11-20T11:08:03.123Z");
    }

    #[test]
    fn payloads() {
        assert_eq!(escaped("a\tb\\ü\n".as_bytes()), r"a\tb\\ü\n");
        assert_eq!(escaped(b"a\xffb"), r"a\xffb");
        assert_eq!(
            printable("{\"a\": \"\\n\"}\u{1b}[2J\t"),
            "{\"a\": \"\\n\"}\\u{1b}[2J\\t"
        );
        assert_eq!(printable_lines("a\tb\nc\r\u{85}"), "a\tb\nc\\r\\u{85}");
        // Trojan-source characters and their kin.
        for c in "\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}\u{200e}\u{200f}\u{61c}\
                  \u{200b}\u{200c}\u{200d}\u{2060}\u{feff}\u{ad}\u{2028}\u{2029}\u{9b}\u{80}\u{7f}\u{1b}\u{e0041}"
            .chars()
        {
            let expected = c.escape_default().to_string();
            let text = c.to_string();
            assert_eq!(escaped(text.as_bytes()), expected);
            assert_eq!(printable(&text), expected);
            assert_eq!(printable_lines(&text), expected);
        }
        let visible = "äß漢字 ☃ e\u{301} العربية עברית";
        assert_eq!(printable(visible), visible);
        assert_eq!(hex(&[0, 255]), "00ff");
        for text in ["", "a\tb\r\n", "äß漢字", "a\u{202e}"] {
            assert!(is_printable(text.as_bytes()), "{text:?}");
        }
        for bytes in [&b"\0"[..], b"a\x1b[2J", b"\xff", "\u{85}".as_bytes()] {
            assert!(!is_printable(bytes), "{bytes:?}");
        }
        let cuts = |bytes: &'static [u8]| [0, 1, 2, 3, 4].map(|limit| cut(bytes, limit).len());
        assert_eq!(cuts("aü".as_bytes()), [0, 1, 1, 3, 3]);
        assert_eq!(cuts(b"\xff\xfe\xfd"), [0, 1, 2, 3, 3]);
        let base64s: Vec<String> = ["", "f", "fo", "foo", "foob"]
            .iter()
            .map(|s| base64(s.as_bytes()))
            .collect();
        assert_eq!(base64s, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg=="]);
    }
}
