//! How a body becomes records, by its content type.

use crate::http::answer::Refusal;
use crate::http::skipped::{Place, Skipped};
use hyper::StatusCode;
use serde::de::{Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// A request may have so many records: each takes memory besides its bytes.
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
    ///
    /// # Errors
    /// 400 if there is none, or for the first line that is none; 413 if there are too many.
    pub(super) fn records(self, body: &[u8], on_error: OnError) -> Result<Records<'_>, Refusal> {
        // The mark that some editors put before a text is no part of its first record.
        let unmarked = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        let mut records = Records {
            body,
            format: self,
            texts: Vec::new(),
            skipped: Skipped::default(),
        };
        match self {
            Self::Raw => records.texts.push(whole(body)?),
            Self::Lines | Self::NdJson => records.read_lines(unmarked, on_error)?,
            Self::Json => records.texts = elements(whole(unmarked)?)?,
        }
        if records.texts.len() > MAX_RECORDS {
            return Err(too_many());
        }
        if body.is_empty() || records.texts.is_empty() {
            return Err(records.none());
        }
        Ok(records)
    }

    /// A line as a record; `None` if it is none, but not wrong.
    fn record(self, line: &[u8]) -> Result<Option<&str>, String> {
        let text = std::str::from_utf8(line)
            .map_err(|error| format!("not UTF-8: the byte at {}", error.valid_up_to()))?;
        if self == Self::Lines {
            return Ok(Some(text));
        }
        if text.trim().is_empty() {
            return Ok(None);
        }
        match serde_json::from_str::<IgnoredAny>(text) {
            Ok(_) => Ok(Some(text)),
            Err(error) => Err(format!("no JSON: {error}")),
        }
    }

    /// Where a record is in its body: counting lines takes as long as the body before it is.
    fn place(self, body: &[u8], record: &str, index: usize) -> Place {
        match self {
            Self::Raw => Place::Body,
            Self::Json => Place::Element(index + 1),
            Self::Lines | Self::NdJson => {
                // The record is a part of the body.
                let before = record.as_ptr().addr() - body.as_ptr().addr();
                let before = body.get(..before).unwrap_or_default();
                Place::Line(memchr::memchr_iter(b'\n', before).count() + 1)
            }
        }
    }
}

/// What becomes of a request with a bad record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnError {
    /// It is refused as a whole.
    Refuse,
    /// The others are stored.
    Skip,
}

impl OnError {
    /// By the query of the request.
    pub(super) fn of(query: Option<&str>) -> Result<Self, Refusal> {
        let pairs = query.unwrap_or_default().split('&');
        let mut said = pairs.filter_map(|pair| pair.strip_prefix("on_error="));
        match (said.next(), said.next()) {
            (None, _) | (Some("refuse"), None) => Ok(Self::Refuse),
            (Some("skip"), None) => Ok(Self::Skip),
            (Some(other), _) => Err(Refusal::bad(format!(
                "on_error={other}: skip, or refuse, once"
            ))),
        }
    }
}

/// The records of a body.
#[derive(Debug)]
pub(super) struct Records<'a> {
    body: &'a [u8],
    format: Format,
    pub(super) texts: Vec<&'a str>,
    pub(super) skipped: Skipped,
}

impl<'a> Records<'a> {
    fn read_lines(&mut self, text: &'a [u8], on_error: OnError) -> Result<(), Refusal> {
        for (index, line) in lines(text).enumerate() {
            if index >= MAX_RECORDS {
                return Err(too_many());
            }
            let place = Place::Line(index + 1);
            match self.format.record(line) {
                Ok(record) => self.texts.extend(record),
                Err(reason) if on_error == OnError::Skip => self.skipped.add(reason, || place),
                Err(reason) => return Err(Refusal::bad(format!("{place}: {reason}"))),
            }
        }
        Ok(())
    }

    /// Leaves out what `check` refuses.
    pub(super) fn skip(
        &mut self,
        check: impl Fn(&str) -> Result<(), String>,
    ) -> Result<(), Refusal> {
        let (format, body) = (self.format, self.body);
        for (index, text) in std::mem::take(&mut self.texts).into_iter().enumerate() {
            match check(text) {
                Ok(()) => self.texts.push(text),
                Err(reason) => self.skipped.add(reason, || format.place(body, text, index)),
            }
        }
        match self.texts.is_empty() {
            true => Err(self.none()),
            false => Ok(()),
        }
    }

    /// Where a record is in the body.
    pub(super) fn place(&self, index: usize) -> Place {
        let text = self.texts.get(index);
        text.map_or(Place::Body, |text| {
            self.format.place(self.body, text, index)
        })
    }

    fn none(&self) -> Refusal {
        match self.skipped.first() {
            None => Refusal::bad("the request has no record"),
            Some(first) => Refusal::bad(format!(
                "the request has no record that could be stored; {first}"
            )),
        }
    }
}

fn too_many() -> Refusal {
    let reason = format!("a request may have {MAX_RECORDS} records");
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, reason)
}

fn whole(body: &[u8]) -> Result<&str, Refusal> {
    std::str::from_utf8(body).map_err(|error| {
        let at = error.valid_up_to();
        let before = body.get(..at).unwrap_or_default();
        let line = memchr::memchr_iter(b'\n', before).count() + 1;
        Refusal::bad(format!("not UTF-8: the byte at {at}, in line {line}"))
    })
}

/// The lines of a text, without their ends (LF, CRLF). The last one needs none.
fn lines(mut text: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        if text.is_empty() {
            return None;
        }
        let Some(end) = memchr::memchr(b'\n', text) else {
            return Some(std::mem::take(&mut text));
        };
        let (line, rest) = text.split_at(end);
        text = rest.get(1..).unwrap_or_default();
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    })
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
mod tests;
