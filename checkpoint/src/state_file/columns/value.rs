//! Where a MessagePack value ends.

/// How a value begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Head {
    /// A value of so many bytes, in all.
    Scalar(usize),
    /// A string: the length of its head, and of all of it.
    Text(usize, usize),
    /// So many values follow a head of so many bytes.
    Array(usize, usize),
    /// So many keys, each with its value, follow a head of so many bytes.
    Map(usize, usize),
}

/// `None` for what is no MessagePack, or ends too soon.
pub(super) fn head(bytes: &[u8]) -> Option<Head> {
    let first = *bytes.first()?;
    let number = |len: usize| {
        let digits = bytes.get(1..)?.get(..len)?;
        let digits = digits.iter().map(|digit| usize::from(*digit));
        Some(digits.fold(0_usize, |sum, digit| (sum << 8) | digit))
    };
    let few = |mask: u8| usize::from(first & mask);
    let found = match first {
        0x00..=0x7F | 0xE0..=0xFF | 0xC0 | 0xC2 | 0xC3 => Head::Scalar(1),
        0xA0..=0xBF => Head::Text(1, 1 + few(0x1F)),
        0xD9 => Head::Text(2, number(1)? + 2),
        0xDA => Head::Text(3, number(2)? + 3),
        0xDB => Head::Text(5, number(4)?.checked_add(5)?),
        0xCC | 0xD0 => Head::Scalar(2),
        0xCD | 0xD1 => Head::Scalar(3),
        0xCA | 0xCE | 0xD2 => Head::Scalar(5),
        0xCB | 0xCF | 0xD3 => Head::Scalar(9),
        0xC4 => Head::Scalar(number(1)? + 2),
        0xC5 => Head::Scalar(number(2)? + 3),
        0xC6 => Head::Scalar(number(4)?.checked_add(5)?),
        0xC7 => Head::Scalar(number(1)? + 3),
        0xC8 => Head::Scalar(number(2)? + 4),
        0xC9 => Head::Scalar(number(4)?.checked_add(6)?),
        0xD4 => Head::Scalar(3),
        0xD5 => Head::Scalar(4),
        0xD6 => Head::Scalar(6),
        0xD7 => Head::Scalar(10),
        0xD8 => Head::Scalar(18),
        0x90..=0x9F => Head::Array(few(0x0F), 1),
        0xDC => Head::Array(number(2)?, 3),
        0xDD => Head::Array(number(4)?, 5),
        0x80..=0x8F => Head::Map(few(0x0F), 1),
        0xDE => Head::Map(number(2)?, 3),
        0xDF => Head::Map(number(4)?, 5),
        0xC1 => return None,
    };
    let len = match found {
        Head::Scalar(len) | Head::Text(_, len) | Head::Array(_, len) | Head::Map(_, len) => len,
    };
    (len <= bytes.len()).then_some(found)
}

/// The length of the value that `bytes` begin with, however deep it is nested.
pub(super) fn len(bytes: &[u8]) -> Option<usize> {
    let (mut rest, mut left) = (bytes, 1_usize);
    while left > 0 {
        left -= 1;
        let (skipped, more) = match head(rest)? {
            Head::Scalar(len) | Head::Text(_, len) => (len, 0),
            Head::Array(count, len) => (len, count),
            Head::Map(count, len) => (len, count.checked_mul(2)?),
        };
        left = left.checked_add(more)?;
        rest = rest.get(skipped..)?;
    }
    Some(bytes.len() - rest.len())
}

/// The head of a map of so many keys, as it is written.
pub(super) fn map_head(count: usize) -> Vec<u8> {
    match (u8::try_from(count), u16::try_from(count)) {
        (Ok(few), _) if few < 16 => vec![0x80 | few],
        (_, Ok(many)) => [&[0xDE][..], &many.to_be_bytes()].concat(),
        _ => Vec::new(),
    }
}

/// Whether the name that begins `bytes`, with its head of `head` bytes and `len` bytes in all, is
/// written as short as it can be.
pub(super) fn is_short(head: usize, len: usize) -> bool {
    match len - head {
        0..32 => head == 1,
        32..256 => head == 2,
        256..65_536 => head == 3,
        _ => false,
    }
}

/// A name, as it is written.
pub(super) fn append_name(out: &mut Vec<u8>, name: &[u8]) {
    match (u8::try_from(name.len()), u16::try_from(name.len())) {
        (Ok(len), _) if len < 32 => out.push(0xA0 | len),
        (Ok(len), _) => out.extend_from_slice(&[0xD9, len]),
        (_, Ok(len)) => {
            out.push(0xDA);
            out.extend_from_slice(&len.to_be_bytes());
        }
        _ => {}
    }
    out.extend_from_slice(name);
}
