//! Data and positions as server-sent events.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use highwater_streams::{Page, Position};
use serde_json::json;

/// How data is written into events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// An array of messages.
    Json,
    Text,
    Base64,
}

impl Encoding {
    pub(crate) fn of(content_type: &str) -> Self {
        let kind = content_type.trim_start().get(..5);
        if highwater_streams::is_json(content_type) {
            Self::Json
        } else if kind.is_some_and(|kind| kind.eq_ignore_ascii_case("text/")) {
            Self::Text
        } else {
            Self::Base64
        }
    }
}

/// How much of a page goes into an event: of a text, no character that is cut.
pub(crate) fn whole_part(page: &Page, encoding: Encoding) -> usize {
    let length = page.data.len();
    if encoding != Encoding::Text || page.is_up_to_date {
        return length;
    }
    match std::str::from_utf8(&page.data) {
        // Only the end is missing: the next event begins with this character.
        Err(error) if error.error_len().is_none() && error.valid_up_to() > 0 => error.valid_up_to(),
        _ => length,
    }
}

/// The data of a page as an event, `length` bytes of it.
pub(crate) fn data(page: &Page, length: usize, encoding: Encoding) -> String {
    let bytes = page.data.get(..length).unwrap_or(&page.data);
    let mut event = String::with_capacity(bytes.len() + bytes.len() / 3 + 64);
    event.push_str("event: data\n");
    match encoding {
        Encoding::Base64 => {
            event.push_str("data:");
            STANDARD.encode_string(bytes, &mut event);
            event.push('\n');
        }
        Encoding::Text => lines(&mut event, &String::from_utf8_lossy(bytes)),
        Encoding::Json => lines(&mut event, &String::from_utf8_lossy(&array(page))),
    }
    event.push('\n');
    event
}

/// The messages of a page as a JSON array.
pub(crate) fn array(page: &Page) -> Vec<u8> {
    let mut array = Vec::with_capacity(page.data.len() + page.lengths.len() + 2);
    array.push(b'[');
    for (n, message) in page.pieces().enumerate() {
        if n > 0 {
            array.push(b',');
        }
        array.extend_from_slice(message);
    }
    array.push(b']');
    array
}

/// A text as lines of an event. What would end a line in it begins a new one.
fn lines(event: &mut String, text: &str) {
    let mut rest = text;
    loop {
        let end = rest.find(['\r', '\n']);
        let (line, after) = rest.split_at(end.unwrap_or(rest.len()));
        // A client takes one space away.
        event.push_str(if line.starts_with(' ') {
            "data: "
        } else {
            "data:"
        });
        event.push_str(line);
        event.push('\n');
        if end.is_none() {
            return;
        }
        rest = after
            .strip_prefix("\r\n")
            .unwrap_or_else(|| after.get(1..).unwrap_or_default());
    }
}

/// Whether more may follow what the client has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reached {
    /// There is more.
    Part,
    /// There is no more now.
    End,
    /// There will be no more.
    Closed,
}

/// Where the client is.
pub(crate) fn control(next: Position, cursor: u64, reached: Reached) -> String {
    let mut control = json!({ "streamNextOffset": next.to_string() });
    if let Some(fields) = control.as_object_mut() {
        match reached {
            Reached::Closed => {
                fields.insert("upToDate".to_owned(), json!(true));
                fields.insert("streamClosed".to_owned(), json!(true));
            }
            Reached::End => {
                fields.insert("streamCursor".to_owned(), json!(cursor.to_string()));
                fields.insert("upToDate".to_owned(), json!(true));
            }
            Reached::Part => {
                fields.insert("streamCursor".to_owned(), json!(cursor.to_string()));
            }
        }
    }
    format!("event: control\ndata:{control}\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As the standard says: lines, a field, one space less.
    fn parsed(event: &str) -> (String, String) {
        let event = event.strip_suffix("\n\n").unwrap();
        let (mut kind, mut data) = (String::new(), Vec::new());
        for line in event.split(['\n', '\r']) {
            let (field, value) = line.split_once(':').unwrap();
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => kind = value.to_owned(),
                "data" => data.push(value.to_owned()),
                other => panic!("{other}"),
            }
        }
        (kind, data.join("\n"))
    }

    proptest! {
        /// Whatever is in a text, a client has its lines, and no other event.
        #[test]
        fn a_text_comes_back_with_its_lines(text in "[a \r\n:é\u{0}]*") {
            let mut event = "event: data\n".to_owned();
            lines(&mut event, &text);
            event.push('\n');
            let expected = text.replace("\r\n", "\n").replace('\r', "\n");
            prop_assert_eq!(parsed(&event), ("data".to_owned(), expected));
        }
    }

    #[test]
    fn a_position_is_an_event_of_its_own() {
        let (kind, data) = parsed(&control(Position::new(3), 7, Reached::End));
        assert_eq!(kind, "control");
        let data: serde_json::Value = serde_json::from_str(&data).unwrap();
        let expected = json!({"streamNextOffset": "0000000000000000_0000000000000003", "streamCursor": "7", "upToDate": true});
        assert_eq!(data, expected);
        let (_, closed) = parsed(&control(Position::new(3), 7, Reached::Closed));
        assert!(
            closed.contains("streamClosed") && !closed.contains("streamCursor"),
            "{closed}"
        );
    }

    #[test]
    fn types_are_told_apart() {
        for (text, encoding) in [
            ("application/json", Encoding::Json),
            ("TEXT/plain; charset=utf-8", Encoding::Text),
            ("text", Encoding::Base64),
            ("image/png", Encoding::Base64),
            ("é", Encoding::Base64),
        ] {
            assert_eq!(Encoding::of(text), encoding, "{text}");
        }
    }
}
