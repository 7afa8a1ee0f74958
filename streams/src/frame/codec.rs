//! Numbers and texts as bytes: what the envelope and the table's entries are made of.

/// Appends a number, seven bits to a byte, the lowest first. The last byte has no top bit.
pub(crate) fn put_number(out: &mut Vec<u8>, mut number: u64) {
    loop {
        let low = number.to_le_bytes()[0] & 0x7f;
        number >>= 7;
        if number == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

/// Appends bytes, after their length.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Bytes that are read from the front. Every method is `None` if they are not what was written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    /// A number; `None` also for one that is written longer than need be, so that equal bytes and
    /// equal values are the same.
    pub(crate) fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            let low = u64::from(byte & 0x7f);
            if shift == 63 && low > 1 || low == 0 && shift > 0 && byte & 0x80 == 0 {
                return None;
            }
            number |= low << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    pub(crate) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_and_bytes_come_back(number: u64, small in 0..300_u64, bytes: Vec<u8>) {
            let mut out = Vec::new();
            put_number(&mut out, number);
            put_bytes(&mut out, &bytes);
            put_number(&mut out, small);
            let mut read = Bytes(&out);
            prop_assert_eq!(read.number(), Some(number));
            prop_assert_eq!(read.bytes(), Some(&*bytes));
            prop_assert_eq!(read.number(), Some(small));
            prop_assert!(read.is_empty());
        }

        #[test]
        fn a_number_that_is_read_is_written_the_same(bytes in proptest::collection::vec(any::<u8>(), 0..12)) {
            let mut read = Bytes(&bytes);
            if let Some(number) = read.number() {
                let mut out = Vec::new();
                put_number(&mut out, number);
                prop_assert_eq!(out.as_slice(), &bytes[..bytes.len() - read.0.len()]);
            }
        }
    }

    #[test]
    fn lengths_are_checked_before_anything_is_taken() {
        assert_eq!(Bytes(&[5, 1, 2]).bytes(), None);
        assert_eq!(Bytes(&[0xff; 9]).bytes(), None);
        assert_eq!(Bytes(&[0x80, 0]).number(), None, "longer than need be");
        assert_eq!(Bytes(&[0xff; 10]).number(), None, "more than 64 bits");
    }
}
