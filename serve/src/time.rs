//! Points in time as texts (RFC 3339), to milliseconds since the Unix epoch.

/// The point in time that a text names; `None` if it is none, or lies before 1970.
pub(crate) fn parse(text: &str) -> Option<u64> {
    let (date, time) = text.split_once(['T', 't'])?;
    let mut parts = date.split('-');
    let (year, month, day) = (
        number(parts.next()?, 4)?,
        number(parts.next()?, 2)?,
        number(parts.next()?, 2)?,
    );
    if parts.next().is_some() || !(1..=12).contains(&month) {
        return None;
    }
    if day == 0 || day > days_of(year, month) {
        return None;
    }
    let (clock, offset_minutes) = split_offset(time)?;
    let (clock, millis) = match clock.split_once('.') {
        None => (clock, 0),
        Some((clock, fraction)) => (clock, millis_of(fraction)?),
    };
    let mut parts = clock.split(':');
    let (hour, minute, second) = (
        number(parts.next()?, 2)?,
        number(parts.next()?, 2)?,
        number(parts.next()?, 2)?,
    );
    // 60 is a leap second.
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let days = days_before(year, month)? + day - 1;
    let minutes = (days * 24 + hour) * 60 + minute;
    let minutes = minutes.checked_add_signed(-offset_minutes)?;
    Some((minutes * 60 + second) * 1000 + millis)
}

fn number(digits: &str, len: usize) -> Option<u64> {
    let sound = digits.len() == len && digits.bytes().all(|byte| byte.is_ascii_digit());
    sound.then(|| digits.parse().ok()).flatten()
}

fn millis_of(fraction: &str) -> Option<u64> {
    let sound = !fraction.is_empty() && fraction.len() <= 9;
    number(fraction, fraction.len()).filter(|_| sound)?;
    let digits: String = fraction.chars().chain("00".chars()).take(3).collect();
    digits.parse().ok()
}

/// The time of day, and how many minutes its place is ahead of UTC.
fn split_offset(time: &str) -> Option<(&str, i64)> {
    if let Some(clock) = time.strip_suffix(['Z', 'z']) {
        return Some((clock, 0));
    }
    let at = time.rfind(['+', '-'])?;
    let (clock, offset) = time.split_at_checked(at)?;
    let (sign, offset) = offset.split_at_checked(1)?;
    let (hours, minutes) = offset.split_once(':')?;
    let (hours, minutes) = (number(hours, 2)?, number(minutes, 2)?);
    if hours > 23 || minutes > 59 {
        return None;
    }
    let ahead = i64::try_from(hours * 60 + minutes).ok()?;
    Some((clock, if sign == "-" { -ahead } else { ahead }))
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_of(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970 to the first of the month.
fn days_before(year: u64, month: u64) -> Option<u64> {
    let years = year.checked_sub(1970)?;
    let leaps = |year: u64| year / 4 - year / 100 + year / 400;
    let days = years * 365 + leaps(year - 1) - leaps(1969);
    Some(days + (1..month).map(|month| days_of(year, month)).sum::<u64>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn points_in_time_are_known() {
        for (text, ms) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:30:15.5z", 951_827_415_500),
            ("2024-10-09T00:00:00Z", 1_728_432_000_000),
            ("2030-06-01T10:00:00+02:00", 1_906_531_200_000),
            ("2030-06-01T10:00:00.123456789-05:30", 1_906_558_200_123),
            ("9999-12-31T23:59:59Z", 253_402_300_799_000),
        ] {
            assert_eq!(parse(text), Some(ms), "{text}");
        }
        for text in [
            "",
            "tomorrow",
            "2030-13-01T00:00:00Z",
            "2030-02-29T00:00:00Z",
            "2030-01-01",
            "2030-01-01T24:00:00Z",
            "2030-01-01T00:00:00",
            "2030-1-01T00:00:00Z",
            "2030-01-01T00:00:00.Z",
            "2030-01-01T00:00:00+24:00",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+00:01",
            "2030-01-00T00:00:00Z",
            "+030-01-01T00:00:00Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_time_or_none(text in "\\PC*") {
            let _ = parse(&text);
        }

        #[test]
        fn a_later_text_is_a_later_time(a in 0..2_000_000_000_u64, b in 0..2_000_000_000_u64) {
            let text = |seconds: u64| {
                let (mut days, rest) = (seconds / 86_400, seconds % 86_400);
                let (mut year, mut month) = (1970, 1);
                while days >= days_of(year, month) {
                    days -= days_of(year, month);
                    (year, month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
                }
                format!("{year:04}-{month:02}-{:02}T{:02}:{:02}:{:02}Z", days + 1, rest / 3600, rest / 60 % 60, rest % 60)
            };
            prop_assert_eq!(parse(&text(a)), Some(a * 1000));
            prop_assert_eq!(text(a).cmp(&text(b)), a.cmp(&b));
        }
    }
}
