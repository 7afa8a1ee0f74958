//! Reading a request. What a client says of lengths and counts is never believed: it is compared
//! with the bytes that are there before anything is taken or made.

use crate::wire::error::Malformed;

/// The bytes of a request from here on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    /// Whether lengths are short and structures end with tagged fields: newer versions of each
    /// request have that.
    is_flexible: bool,
}

type Result<T> = std::result::Result<T, Malformed>;

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            is_flexible: false,
        }
    }

    /// As it goes on in a flexible version, or not.
    pub(crate) fn flexible(self, is_flexible: bool) -> Self {
        Self {
            is_flexible,
            ..self
        }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or(Malformed("it ends too early"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(Malformed("it ends too early"))?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(crate) fn i8(&mut self) -> Result<i8> {
        self.array().map(i8::from_be_bytes)
    }

    pub(crate) fn i16(&mut self) -> Result<i16> {
        self.array().map(i16::from_be_bytes)
    }

    pub(crate) fn i32(&mut self) -> Result<i32> {
        self.array().map(i32::from_be_bytes)
    }

    pub(crate) fn i64(&mut self) -> Result<i64> {
        self.array().map(i64::from_be_bytes)
    }

    pub(crate) fn bool(&mut self) -> Result<bool> {
        Ok(self.i8()? != 0)
    }

    /// A number of seven bits a byte, at most 32 bits.
    fn varint(&mut self) -> Result<u32> {
        let mut number = 0_u64;
        for shift in (0..35).step_by(7) {
            let [byte] = self.array()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return u32::try_from(number).map_err(|_| Malformed("a length is too large"));
            }
        }
        Err(Malformed("a length has too many bytes"))
    }

    /// The length of what follows; `None` for null.
    fn len(&mut self, fixed: impl FnOnce(&mut Self) -> Result<i32>) -> Result<Option<usize>> {
        let len = match self.is_flexible {
            true => i64::from(self.varint()?) - 1,
            false => i64::from(fixed(self)?),
        };
        match len {
            -1 => Ok(None),
            len => usize::try_from(len)
                .map(Some)
                .map_err(|_| Malformed("a length is negative")),
        }
    }

    /// A text, or null.
    pub(crate) fn opt_text(&mut self) -> Result<Option<&'a str>> {
        let Some(len) = self.len(|reader| reader.i16().map(i32::from))? else {
            return Ok(None);
        };
        let bytes = self.take(len)?;
        let text = std::str::from_utf8(bytes).map_err(|_| Malformed("a text is not UTF-8"))?;
        Ok(Some(text))
    }

    pub(crate) fn text(&mut self) -> Result<&'a str> {
        self.opt_text()?
            .ok_or(Malformed("a text is null that must not be"))
    }

    /// Bytes, or null.
    pub(crate) fn opt_bytes(&mut self) -> Result<Option<&'a [u8]>> {
        match self.len(Self::i32)? {
            Some(len) => self.take(len).map(Some),
            None => Ok(None),
        }
    }

    /// How many items follow, each of at least one byte; `None` for null.
    pub(crate) fn opt_count(&mut self) -> Result<Option<usize>> {
        let count = self.len(Self::i32)?;
        match count {
            Some(count) if count > self.rest.len() => {
                Err(Malformed("it says that it has more items than bytes"))
            }
            count => Ok(count),
        }
    }

    /// As [`Self::opt_count`]; null counts as none.
    pub(crate) fn count(&mut self) -> Result<usize> {
        Ok(self.opt_count()?.unwrap_or(0))
    }

    /// The end of a structure. Tagged fields are passed over.
    pub(crate) fn end_struct(&mut self) -> Result<()> {
        if !self.is_flexible {
            return Ok(());
        }
        let tags = self.varint()?;
        for _ in 0..tags {
            self.varint()?;
            let len = self.varint()?;
            let len = usize::try_from(len).map_err(|_| Malformed("a length is too large"))?;
            self.take(len)?;
        }
        Ok(())
    }

    /// The end of the request.
    pub(crate) fn end(mut self) -> Result<()> {
        self.end_struct()?;
        match self.rest {
            [] => Ok(()),
            _ => Err(Malformed("bytes follow its end")),
        }
    }
}
