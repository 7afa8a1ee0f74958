//! Bodies of JSON streams: one message, or an array of them.

use serde_json::value::RawValue;

/// Why a body, or a message, is none of a JSON stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadJson(String);

/// The messages of a body: the elements of an array, or the body itself. They are texts as the
/// client wrote them, without space around.
///
/// ```
/// let messages = highwater_streams::json_messages(br#" [{"a": 1}, [2]] "#)?;
/// assert_eq!(messages, [&br#"{"a": 1}"#[..], b"[2]"]);
/// assert_eq!(highwater_streams::json_messages(b"3")?, [b"3"]);
/// # Ok::<_, highwater_streams::BadJson>(())
/// ```
///
/// # Errors
/// [`BadJson`] if it is no JSON text in UTF-8.
pub fn json_messages(body: &[u8]) -> Result<Vec<&[u8]>, BadJson> {
    let bad = |e: serde_json::Error| BadJson(format!("the body is no JSON: {e}"));
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    let messages: Vec<&RawValue> = match first {
        Some(b'[') => serde_json::from_slice(body).map_err(bad)?,
        _ => vec![serde_json::from_slice(body).map_err(bad)?],
    };
    Ok(messages.into_iter().map(|m| m.get().as_bytes()).collect())
}

/// The text of one message, which may be an array: as it was written, without space around.
///
/// ```
/// assert_eq!(highwater_streams::json_message(b" [1, 2]\n")?, b"[1, 2]");
/// # Ok::<_, highwater_streams::BadJson>(())
/// ```
///
/// # Errors
/// [`BadJson`] if it is no JSON text in UTF-8.
pub fn json_message(body: &[u8]) -> Result<&[u8], BadJson> {
    let message: Result<&RawValue, _> = serde_json::from_slice(body);
    message
        .map(|message| message.get().as_bytes())
        .map_err(|e| BadJson(format!("the message is no JSON: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn arrays_are_taken_apart_once() {
        assert_eq!(json_messages(b"[]"), Ok(vec![]));
        assert_eq!(json_messages(b"[[1,2]]").unwrap(), [b"[1,2]"]);
        assert_eq!(
            json_messages(b"\n\"a\\u0020b\" ").unwrap(),
            [b"\"a\\u0020b\""]
        );
        for bad in [
            &b""[..],
            b" ",
            b"{",
            b"[1,]",
            b"[1] 2",
            b"nul",
            b"\"\xff\"",
            b"[\"\xff\"]",
        ] {
            json_messages(bad).unwrap_err();
        }
    }

    /// A parser that calls itself would end the process at some depth.
    #[test]
    fn depth_is_no_harm() {
        let deep = [vec![b'['; 200_000], vec![b']'; 200_000]].concat();
        let messages = json_messages(&deep);
        assert!(messages.is_err() || messages.unwrap().len() == 1);
    }

    proptest! {
        #[test]
        fn any_bytes_end_in_messages_or_an_error(bytes: Vec<u8>) {
            if let Ok(messages) = json_messages(&bytes) {
                for message in messages {
                    let array = [b"[", message, b"]"].concat();
                    prop_assert_eq!(json_messages(&array).unwrap(), [message]);
                }
            }
        }

        #[test]
        fn messages_come_back(numbers in proptest::collection::vec(any::<i64>(), 0..9)) {
            let texts: Vec<String> = numbers.iter().map(i64::to_string).collect();
            let body = format!("[{}]", texts.join(" , "));
            let messages = json_messages(body.as_bytes()).unwrap();
            let expected: Vec<&[u8]> = texts.iter().map(String::as_bytes).collect();
            prop_assert_eq!(messages, expected);
        }
    }
}
