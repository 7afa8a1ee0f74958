//! `SaslHandshake` and `SaslAuthenticate`: who the client is.
//!
//! The mechanism is PLAIN ([RFC 4616](https://www.rfc-editor.org/rfc/rfc4616)): the name of a token
//! as the user, and its secret as the password.

use crate::wire::error::{Code, Malformed};
use crate::wire::reader::Reader;
use crate::wire::writer::Writer;

const PLAIN: &str = "PLAIN";

/// Whether the client wants a mechanism that is offered.
pub(crate) fn read_handshake(mut reader: Reader<'_>) -> Result<bool, Malformed> {
    let mechanism = reader.text()?;
    reader.end()?;
    Ok(mechanism == PLAIN)
}

pub(crate) fn write_handshake(writer: &mut Writer, is_offered: bool) {
    writer.i16(match is_offered {
        true => Code::None.number(),
        false => Code::UnsupportedSaslMechanism.number(),
    });
    writer.count(1);
    writer.text(PLAIN);
}

/// What a client says of itself: its name, and its secret.
pub(crate) fn read_plain(bytes: &[u8]) -> Option<(&str, &str)> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut parts = text.split('\0');
    let (acts_for, name, secret) = (parts.next()?, parts.next()?, parts.next()?);
    let is_itself = acts_for.is_empty() || acts_for == name;
    (is_itself && parts.next().is_none()).then_some((name, secret))
}

pub(crate) fn read_authenticate(mut reader: Reader<'_>) -> Result<&[u8], Malformed> {
    let bytes = reader.opt_bytes()?.unwrap_or_default();
    reader.end()?;
    Ok(bytes)
}

pub(crate) fn write_authenticate(writer: &mut Writer, version: i16, is_known: bool) {
    let (code, reason) = match is_known {
        true => (Code::None, None),
        false => (
            Code::SaslAuthenticationFailed,
            Some("the name or the secret of the token is wrong"),
        ),
    };
    writer.i16(code.number());
    writer.opt_text(reason);
    writer.opt_bytes(Some(&[]));
    if version >= 1 {
        writer.i64(0);
    }
}
