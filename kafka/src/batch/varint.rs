//! Numbers of seven bits a byte, the lowest first; small ones of both signs are short (zigzag).

/// Appends a number.
pub(crate) fn put(out: &mut Vec<u8>, number: i64) {
    let mut rest = ((number << 1) ^ (number >> 63)).cast_unsigned();
    loop {
        let low = rest.to_le_bytes()[0] & 0x7f;
        rest >>= 7;
        if rest == 0 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}

/// Bytes that are read from the front. Every method is `None` where they end too early, or are no
/// number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(crate) fn number(&mut self) -> Option<i64> {
        let mut number = 0_u64;
        for shift in (0..70).step_by(7) {
            let [byte] = self.array()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some((number >> 1).cast_signed() ^ -(number & 1).cast_signed());
            }
        }
        None
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(crate) fn take(&mut self, count: i64) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(count).ok()?)?;
        self.0 = rest;
        Some(taken)
    }

    /// Bytes after their length; the length -1 is null.
    pub(crate) fn opt_bytes(&mut self) -> Option<Option<&'a [u8]>> {
        match self.number()? {
            -1 => Some(None),
            len => self.take(len).map(Some),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_come_back(number: i64) {
            let mut out = Vec::new();
            put(&mut out, number);
            let mut bytes = Bytes(&out);
            prop_assert_eq!(bytes.number(), Some(number));
            prop_assert!(bytes.0.is_empty());
        }

        #[test]
        fn any_bytes_are_numbers_or_not(input: Vec<u8>) {
            let mut bytes = Bytes(&input);
            while bytes.number().is_some() {}
        }
    }

    #[test]
    fn small_numbers_of_both_signs_are_short() {
        for number in [-64, -1, 0, 1, 63] {
            let mut out = Vec::new();
            put(&mut out, number);
            assert_eq!(out.len(), 1, "{number}");
        }
        assert_eq!(Bytes(&[0xff; 11]).number(), None);
        assert_eq!(Bytes(b"\x05abc").opt_bytes(), None, "-3 is no length");
    }
}
