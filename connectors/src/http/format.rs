//! How a body becomes records, by its content type.

use crate::http::answer::Refusal;
use hyper::StatusCode;
use serde::de::{Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// A request may have so many records: their numbers are part of the producer's.
pub(super) const MAX_RECORDS: usize = 1 << 20;

/// What a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// `application/octet-stream`, or nothing said: one record.
    Raw,
    /// `text/plain`: a record per line.
    Lines,
    /// `application/x-ndjson`: a record per line, each of them JSON. Empty lines count for nothing.
    NdJson,
    /// `application/json`: a record per element of an array, or one of anything else.
    Json,
}

impl Format {
    /// By the header `content-type`; its parameters are ignored, but for a charset that is not
    /// UTF-8.
    pub(super) fn of(content_type: Option<&str>) -> Result<Self, Refusal> {
        let unsupported = |reason| Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, reason);
        let Some(content_type) = content_type else {
            return Ok(Self::Raw);
        };
        let mut parts = content_type.split(';').map(str::trim);
        for parameter in parts.clone().skip(1) {
            let parameter = parameter.to_ascii_lowercase();
            let charset = parameter.strip_prefix("charset=");
            let charset = charset.map(|name| name.trim_matches('"'));
            if charset.is_some_and(|name| !["utf-8", "utf8", "us-ascii"].contains(&name)) {
                return Err(unsupported(format!("{parameter}: this source takes UTF-8")));
            }
        }
        match &*parts.next().unwrap_or_default().to_ascii_lowercase() {
            "application/octet-stream" => Ok(Self::Raw),
            "text/plain" => Ok(Self::Lines),
            "application/x-ndjson" | "application/jsonl" => Ok(Self::NdJson),
            "application/json" => Ok(Self::Json),
            other => Err(unsupported(format!(
                "{other:?}: this source takes text/plain (a record per line), application/x-ndjson, application/json (an \
                 array of records, or one) and application/octet-stream (one record)"
            ))),
        }
    }

    /// The records of a body, at least one.
    pub(super) fn records(self, body: &[u8]) -> Result<Vec<&str>, Refusal> {
        let text = std::str::from_utf8(body).map_err(|error| {
            let at = error.valid_up_to();
            let line = body.iter().take(at).filter(|byte| **byte == b'\n').count() + 1;
            Refusal::bad(format!("not UTF-8: the byte at {at}, in line {line}"))
        })?;
        // The mark that some editors put before a text is no part of its first record.
        let unmarked = text.strip_prefix('\u{feff}').unwrap_or(text);
        let records = match self {
            Self::Raw => vec![text],
            Self::Lines => lines(unmarked)?.collect(),
            Self::NdJson => documents(unmarked)?,
            Self::Json => elements(unmarked)?,
        };
        if body.is_empty() || records.is_empty() {
            return Err(Refusal::bad("the request has no record"));
        }
        if records.len() > MAX_RECORDS {
            return Err(too_many());
        }
        Ok(records)
    }
}

fn too_many() -> Refusal {
    let reason = format!("a request may have {MAX_RECORDS} records");
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, reason)
}

/// The lines of a text, without their ends. The last one needs none.
fn lines(text: &str) -> Result<impl Iterator<Item = &str> + Clone, Refusal> {
    let lines = text.lines();
    match lines.clone().nth(MAX_RECORDS) {
        Some(_) => Err(too_many()),
        None => Ok(lines),
    }
}

/// Lines that are JSON.
fn documents(text: &str) -> Result<Vec<&str>, Refusal> {
    let mut found = Vec::new();
    for (index, line) in lines(text)?.enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let checked = serde_json::from_str::<IgnoredAny>(line);
        checked.map_err(|e| Refusal::bad(format!("line {}: no JSON: {e}", index + 1)))?;
        found.push(line);
    }
    Ok(found)
}

/// The elements of an array, or the whole.
fn elements(text: &str) -> Result<Vec<&str>, Refusal> {
    let no_json = |error: serde_json::Error| Refusal::bad(format!("no JSON: {error}"));
    if !text.trim_start().starts_with('[') {
        let one: &RawValue = serde_json::from_str(text).map_err(no_json)?;
        return Ok(vec![one.get()]);
    }
    let all: Elements<'_> = serde_json::from_str(text).map_err(no_json)?;
    Ok(all.0)
}

/// The elements of an array, up to one more than a request may have: a body of two bytes each would
/// become one of many times its size.
struct Elements<'a>(Vec<&'a str>);

impl<'de> Deserialize<'de> for Elements<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ReadElements)
    }
}

struct ReadElements;

impl<'de> Visitor<'de> for ReadElements {
    type Value = Elements<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        let mut found = Vec::new();
        while found.len() <= MAX_RECORDS {
            let Some(element) = array.next_element::<&RawValue>()? else {
                return Ok(Elements(found));
            };
            found.push(element.get());
        }
        while array.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Elements(found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(content_type: &str, body: &str) -> Result<Vec<String>, String> {
        let format = Format::of(Some(content_type)).map_err(|r| r.reason)?;
        let records = format.records(body.as_bytes());
        records
            .map(|all| all.into_iter().map(str::to_owned).collect())
            .map_err(|refusal| format!("{}: {}", refusal.status.as_u16(), refusal.reason))
    }

    #[test]
    fn each_type_has_its_records() {
        for (content_type, body, expected) in [
            ("text/plain; charset=UTF-8", "a\r\n\nb", &["a", "", "b"][..]),
            ("text/plain", "\u{feff}a\n", &["a"]),
            ("application/json", "\u{feff}[1]", &["1"]),
            ("application/octet-stream", "\u{feff}", &["\u{feff}"]),
            ("text/plain", "a\n", &["a"]),
            ("application/octet-stream", "a\nb\n", &["a\nb\n"]),
            (
                "application/x-ndjson",
                "{\"a\": 1}\n\n2\n",
                &["{\"a\": 1}", "2"],
            ),
            (
                "application/json",
                " [1, {\"a\": [2]}, \"x\"]",
                &["1", "{\"a\": [2]}", "\"x\""],
            ),
            ("Application/JSON", "{\"a\": [1]} ", &["{\"a\": [1]}"]),
            ("application/json", "[[1], []]", &["[1]", "[]"]),
        ] {
            let found = records(content_type, body);
            assert_eq!(
                found.as_deref(),
                Ok(&expected.iter().map(ToString::to_string).collect::<Vec<_>>()[..]),
                "{body}"
            );
        }
    }

    #[test]
    fn what_is_no_record_is_refused_with_its_line() {
        for (content_type, body, expected) in [
            ("application/x-ndjson", "1\n{\n", "400: line 2: no JSON"),
            ("application/json", "[1, 2", "400: no JSON"),
            ("application/json", "1 2", "400: no JSON"),
            ("application/json", "[]", "400: the request has no record"),
            (
                "application/x-ndjson",
                "\n",
                "400: the request has no record",
            ),
            ("text/plain", "", "400: the request has no record"),
            (
                "application/xml",
                "<a/>",
                "\"application/xml\": this source takes",
            ),
            (
                "text/plain; charset=latin1",
                "a",
                "charset=latin1: this source takes UTF-8",
            ),
        ] {
            let error = records(content_type, body).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
        // F74: a hundred thousand levels.
        for content_type in ["application/json", "application/x-ndjson"] {
            let deep = |close: usize| "[".repeat(100_000) + &"]".repeat(close);
            assert!(records(content_type, &deep(99_999)).is_err());
            assert_eq!(records(content_type, &deep(100_000)).unwrap().len(), 1);
        }
        let error = Format::Lines.records(b"a\n\xff").unwrap_err().reason;
        assert_eq!(error, "not UTF-8: the byte at 2, in line 2");
        let many = "\n".repeat(MAX_RECORDS + 1);
        assert!(records("text/plain", &many).unwrap_err().starts_with("413"));
    }
}
