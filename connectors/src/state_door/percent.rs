//! Texts in addresses: `%2F` is a slash.

/// Where a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Path,
    /// There `+` is a space, as forms write it.
    Query,
}

/// What a text of an address says.
///
/// # Errors
/// What is wrong with it: two hexadecimal digits follow each `%`, and the whole is UTF-8.
pub(super) fn decode(text: &str, part: Part) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' if part == Part::Query => b' ',
            b'%' => {
                let digits = (digit(rest.next()), digit(rest.next()));
                let (Some(high), Some(low)) = digits else {
                    return Err(format!(
                        "{text:?}: two hexadecimal digits follow a %, and a % itself is %25"
                    ));
                };
                high << 4 | low
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| format!("{text:?} is not UTF-8"))
}

fn digit(byte: Option<u8>) -> Option<u8> {
    let digit = char::from(byte?).to_digit(16)?;
    u8::try_from(digit).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fmt::Write;

    #[test]
    fn what_is_no_text_is_refused() {
        for text in ["%", "%2", "%zz", "a%+1", "%%20", "%e2%28", "%ff", "%é"] {
            decode(text, Part::Query).unwrap_err();
        }
        assert_eq!(decode("a+b%2B", Part::Path).unwrap(), "a+b+");
        assert_eq!(decode("a+b%2b", Part::Query).unwrap(), "a b+");
    }

    proptest! {
        #[test]
        fn what_was_escaped_is_what_it_was(text in ".{0,40}") {
            let mut escaped = String::new();
            text.bytes().for_each(|byte| write!(escaped, "%{byte:02X}").unwrap());
            for part in [Part::Path, Part::Query] {
                prop_assert_eq!(&decode(&escaped, part).unwrap(), &text);
            }
        }

        #[test]
        fn nothing_panics(text in any::<String>()) {
            let _ = decode(&text, Part::Query);
        }
    }
}
