//! The headers by which a retry is known: `Producer-Id`, `Producer-Seq` and, for producers that
//! count their lives, `Producer-Epoch`.

use crate::connection::MAX_PRODUCER_BYTES;
use crate::http::answer::Refusal;
use crate::http::format::MAX_RECORDS;
use hyper::HeaderMap;

/// Numbers of requests go up to here: with the number of a record they fill 64 bits.
const MAX_SEQUENCE: u64 = u64::MAX / MAX_RECORDS as u64;

/// Who sends a request, and its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Producer<'a> {
    pub(super) id: &'a str,
    pub(super) epoch: Option<u64>,
    sequence: u64,
}

impl<'a> Producer<'a> {
    /// What the headers say, if they say anything.
    pub(super) fn of(headers: &'a HeaderMap) -> Result<Option<Self>, Refusal> {
        let [id, sequence, epoch] =
            ["producer-id", "producer-seq", "producer-epoch"].map(|name| text(headers, name));
        let (id, sequence, epoch) = (id?, sequence?, epoch?);
        let (Some(id), Some(sequence)) = (id, sequence) else {
            return match (id, sequence, epoch) {
                (None, None, None) => Ok(None),
                _ => Err(Refusal::bad("Producer-Id and Producer-Seq go together")),
            };
        };
        if !(1..=MAX_PRODUCER_BYTES).contains(&id.len()) {
            let reason = format!(
                "Producer-Id has {} bytes: 1 to {MAX_PRODUCER_BYTES}",
                id.len()
            );
            return Err(Refusal::bad(reason));
        }
        Ok(Some(Self {
            id,
            epoch: epoch
                .map(|epoch| number("Producer-Epoch", epoch, u64::MAX))
                .transpose()?,
            sequence: number("Producer-Seq", sequence, MAX_SEQUENCE)?,
        }))
    }

    /// The numbers of the records of this request, of which there are `count`.
    ///
    /// They end where the numbers of the next request begin, however many there are. So a retry
    /// with more records, or others, has none that is new: a request counts as a whole.
    pub(super) fn numbers(&self, count: usize) -> impl Iterator<Item = u64> + use<> {
        debug_assert!((1..=MAX_RECORDS).contains(&count));
        let end = (self.sequence * MAX_RECORDS as u64).saturating_add(MAX_RECORDS as u64 - 1);
        let first = end - (count as u64 - 1);
        first..=end
    }
}

/// A header that is there once at most.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Refusal> {
    let mut all = headers.get_all(name).iter();
    let (first, second) = (all.next(), all.next());
    let first = first.map(|value| value.to_str());
    match (first.transpose(), second) {
        (Ok(first), None) => Ok(first),
        _ => Err(Refusal::bad(format!("{name} must be there once, in ASCII")).closing()),
    }
}

fn number(name: &str, text: &str, most: u64) -> Result<u64, Refusal> {
    // `parse` takes a sign too; a number that can be written in two ways causes mistakes.
    let is_plain =
        text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    let parsed = text
        .parse()
        .ok()
        .filter(|number| is_plain && *number <= most);
    parsed.ok_or_else(|| Refusal::bad(format!("{name} is {text:?}: a number from 0 to {most}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (
                hyper::header::HeaderName::from_static(name),
                value.parse().unwrap(),
            )
        };
        all.iter().map(pair).collect()
    }

    #[test]
    fn numbers_of_requests_do_not_meet() {
        let of = |sequence: &str| {
            let headers = headers(&[("producer-id", "a"), ("producer-seq", sequence)]);
            let (first, next) = (1, MAX_RECORDS);
            [first, next].map(|count| {
                let producer = Producer::of(&headers).unwrap().unwrap();
                (
                    producer.numbers(count).next().unwrap(),
                    producer.numbers(count).last().unwrap(),
                )
            })
        };
        let [one, all] = of("7");
        let [next, all_next] = of("8");
        assert_eq!(one.0, one.1);
        assert_eq!(
            one.1, all.1,
            "a retry with more records has none that is new"
        );
        assert!(all.1 < all_next.0 && all_next.0 <= next.0);
        let last = MAX_SEQUENCE.to_string();
        assert_eq!(of(&last)[1].1, u64::MAX);
        assert_eq!(of("0")[1].0, 0);
    }

    #[test]
    fn what_is_no_producer_is_refused() {
        assert_eq!(Producer::of(&headers(&[])).unwrap(), None);
        for (all, expected) in [
            (&[("producer-id", "a")][..], "go together"),
            (&[("producer-epoch", "1")], "go together"),
            (&[("producer-id", ""), ("producer-seq", "1")], "has 0 bytes"),
            (&[("producer-id", "a"), ("producer-seq", "+1")], "\"+1\""),
            (&[("producer-id", "a"), ("producer-seq", "01")], "\"01\""),
            (
                &[("producer-id", "a"), ("producer-seq", "17592186044416")],
                "a number from 0 to 17592186044415",
            ),
            (
                &[
                    ("producer-id", "a"),
                    ("producer-id", "b"),
                    ("producer-seq", "1"),
                ],
                "once",
            ),
        ] {
            let error = Producer::of(&headers(all)).unwrap_err().reason;
            assert!(error.contains(expected), "{error}");
        }
    }
}
