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
    /// How many items all lists of the request may still have.
    items: usize,
}

/// How many items all lists of a request may have: each takes more memory than bytes of it.
pub(crate) const MAX_ITEMS: usize = 20_000;

type Result<T> = std::result::Result<T, Malformed>;

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            is_flexible: false,
            items: MAX_ITEMS,
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
        if count.is_some_and(|count| count > self.rest.len()) {
            return Err(Malformed("it says that it has more items than bytes"));
        }
        let items = self.items.checked_sub(count.unwrap_or(0));
        self.items = items.ok_or(Malformed("its lists have more than 20,000 items"))?;
        Ok(count)
    }

    /// As [`Self::opt_count`]; null counts as none.
    pub(crate) fn count(&mut self) -> Result<usize> {
        Ok(self.opt_count()?.unwrap_or(0))
    }

    /// Topics with their partitions, each as `partition` reads it up to its end.
    pub(crate) fn topics<P>(
        &mut self,
        mut partition: impl FnMut(&mut Self) -> Result<P>,
    ) -> Result<Vec<(&'a str, Vec<P>)>> {
        let mut topics = Vec::new();
        for _ in 0..self.count()? {
            let name = self.text()?;
            let mut partitions = Vec::new();
            for _ in 0..self.count()? {
                partitions.push(partition(self)?);
                self.end_struct()?;
            }
            self.end_struct()?;
            topics.push((name, partitions));
        }
        Ok(topics)
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

/// Topics with names of their own: for what outlives the bytes of the request.
pub(crate) fn owned<P>(topics: Vec<(&str, Vec<P>)>) -> Vec<(String, Vec<P>)> {
    let topics = topics.into_iter();
    topics
        .map(|(name, partitions)| (name.to_owned(), partitions))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lists in lists, flexible and not: the bound is that of all together.
    #[test]
    fn lists_have_no_more_items_than_bytes_nor_than_all_may_have() {
        let lists = |counts: &[i32]| {
            let mut bytes: Vec<u8> = counts.iter().flat_map(|c| c.to_be_bytes()).collect();
            bytes.resize(bytes.len() + MAX_ITEMS + 1, 0);
            let mut reader = Reader::new(&bytes);
            let counted: Result<Vec<usize>> = counts.iter().map(|_| reader.count()).collect();
            counted.map(|counted| counted.iter().sum::<usize>())
        };
        assert_eq!(lists(&[20_000]), Ok(MAX_ITEMS));
        assert_eq!(lists(&[19_999, 1]), Ok(MAX_ITEMS));
        let too_many = Err(Malformed("its lists have more than 20,000 items"));
        assert_eq!(lists(&[20_001]), too_many);
        assert_eq!(lists(&[19_999, 2]), too_many);
        assert_eq!(lists(&[-1]), Ok(0), "null");
        let few = Reader::new(&[0, 0, 0, 3, 0, 0]).count();
        let more_than_bytes = "it says that it has more items than bytes";
        assert_eq!(few, Err(Malformed(more_than_bytes)));
        let mut flexible = Reader::new(&[4, 0, 0]).flexible(true);
        assert_eq!(flexible.count(), Err(Malformed(more_than_bytes)));
        assert_eq!(
            Reader::new(&[0xff, 0xff, 0xff, 0xfe]).count(),
            Err(Malformed("a length is negative"))
        );
    }
}
