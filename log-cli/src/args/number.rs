//! Numbers with a range.

use std::ops::RangeInclusive;

/// Every number there is.
pub const ANY: RangeInclusive<u64> = 0..=u64::MAX;

/// A number in a range. The message names the range, whatever is wrong with the text.
pub fn between<T: TryFrom<u64>>(
    range: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<T, String> + Clone {
    move |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        let number = number.and_then(|number| T::try_from(number).ok());
        number.ok_or_else(|| {
            let (first, last) = (range.start(), range.end());
            format!("a number from {first} to {last} is needed")
        })
    }
}

/// A number of seconds that is not too small to measure.
pub fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.01..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("a number from 0.01 to 3600 is needed".to_owned()),
    }
}
