//! What the log holds of a staged file: enough to find it, and to tell whether it is whole.
//!
//! Format: `docs/format/text-output.md`.

use super::pieces::Content;
use highwater_engine::{BoxError, SinkError};
use serde::{Deserialize, Serialize};

/// What the log holds of a staged file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Token {
    /// The name under which it is published.
    pub(super) file: String,
    bytes: u64,
    /// 16 hexadecimal digits.
    xxh3: String,
}

impl Token {
    pub(super) fn new(file: String, content: Content) -> Self {
        Self {
            file,
            bytes: content.bytes,
            xxh3: format!("{:016x}", content.hash),
        }
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>, BoxError> {
        Ok(serde_json::to_vec(self)?)
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, BoxError> {
        serde_json::from_slice(bytes).map_err(|e| {
            SinkError::permanent(format!(
                "the log holds a part that is no file ({e}): the output of this name was of another kind when it was staged"
            ))
            .into()
        })
    }

    /// Whether a file with this content is the one that was staged.
    pub(super) fn is(&self, content: Content) -> bool {
        self.bytes == content.bytes && self.xxh3 == format!("{:016x}", content.hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_bytes_are_frozen() {
        let content = Content { bytes: 3, hash: 10 };
        let token = Token::new("a-1-0000000001".to_owned(), content);
        let golden = br#"{"file":"a-1-0000000001","bytes":3,"xxh3":"000000000000000a"}"#;
        assert_eq!(token.encode().unwrap(), golden);
        assert_eq!(Token::decode(golden).unwrap(), token);
        assert!(
            token.is(content)
                && !token.is(Content {
                    bytes: 4,
                    ..content
                })
        );
        assert!(SinkError::is_permanent(&Token::decode(b"x").unwrap_err()));
    }
}
