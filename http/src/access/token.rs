//! Who is served: those who know a token.

use crate::access::head::{Denied, text};
use hyper::{HeaderMap, StatusCode};
use std::fmt;
use subtle::{Choice, ConstantTimeEq};

/// The shortest token, in bytes: one of half its length could be guessed.
const MIN_BYTES: usize = 16;

/// A secret, and the name of the client that has it. What it is stands in no message.
#[derive(Clone)]
pub struct Token {
    /// Of the client that has it, for messages.
    pub name: String,
    secret: String,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Token {
    /// The secret of the client `name`.
    #[must_use]
    pub fn new(name: &str, secret: &str) -> Self {
        Self {
            name: name.to_owned(),
            secret: secret.to_owned(),
        }
    }

    /// Whether a client that gives its name and a secret has it. The secret is compared to its end:
    /// how long it takes tells nothing about it.
    #[must_use]
    pub fn is(&self, name: &str, secret: &str) -> bool {
        let same: bool = self.secret.as_bytes().ct_eq(secret.as_bytes()).into();
        same && self.name == name
    }

    /// Why it cannot be used, if it cannot.
    pub(crate) fn fault(&self) -> Option<String> {
        let is_sendable = self.secret.bytes().all(|byte| byte.is_ascii_graphic());
        let what = match (self.secret.len() < MIN_BYTES, is_sendable) {
            (true, _) => format!("is shorter than {MIN_BYTES} bytes"),
            (_, false) => "has characters that a header cannot carry as they are".to_owned(),
            (false, true) => return None,
        };
        Some(format!("the token of {:?} {what}", self.name))
    }
}

/// Which of the tokens a request has, if there are any.
///
/// # Errors
/// 401.
pub fn check(tokens: &[Token], headers: &HeaderMap) -> Result<Option<usize>, Denied> {
    if tokens.is_empty() {
        return Ok(None);
    }
    let said = text(headers, "authorization")?.and_then(|said| {
        let (scheme, secret) = said.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim())
    });
    // All are compared, and each to its end: how long it takes tells nothing about them.
    let said = said.unwrap_or_default().as_bytes();
    let compared: Vec<Choice> = tokens
        .iter()
        .map(|token| token.secret.as_bytes().ct_eq(said))
        .collect();
    let known = compared.into_iter().position(bool::from);
    known.map(Some).ok_or_else(|| {
        let reason = "a token is asked for: Authorization: Bearer ..";
        Denied::new(StatusCode::UNAUTHORIZED, reason)
    })
}
