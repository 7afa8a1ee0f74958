//! `FindCoordinator`: who coordinates a group or a transaction. It is asked only to be refused.

use crate::wire::error::{Code, Malformed};
use crate::wire::reader::Reader;
use crate::wire::writer::Writer;

/// What is to be coordinated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Group,
    Transaction,
}

pub(crate) fn read(version: i16, mut reader: Reader<'_>) -> Result<Kind, Malformed> {
    reader.text()?;
    let kind = if version >= 1 { reader.i8()? } else { 0 };
    reader.end()?;
    Ok(match kind {
        1 => Kind::Transaction,
        _ => Kind::Group,
    })
}

impl Kind {
    /// Codes that clients do not ask again after.
    pub(crate) fn code(self) -> Code {
        match self {
            Self::Group => Code::GroupAuthorizationFailed,
            Self::Transaction => Code::TransactionalIdAuthorizationFailed,
        }
    }

    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Group => {
                "Highwater has no consumer groups: assign partitions and keep offsets yourself"
            }
            Self::Transaction => "Highwater has no transactions: use an idempotent producer",
        }
    }
}

pub(crate) fn write(writer: &mut Writer, version: i16, kind: Kind) {
    if version >= 1 {
        writer.i32(0);
    }
    writer.i16(kind.code().number());
    if version >= 1 {
        writer.opt_text(Some(kind.reason()));
    }
    writer.i32(-1);
    writer.text("");
    writer.i32(-1);
}
