//! Writing an answer.

/// An answer as it is written.
#[derive(Debug)]
pub(crate) struct Writer {
    out: Vec<u8>,
    is_flexible: bool,
}

impl Writer {
    /// An answer to a request. Its length is filled in at the end.
    pub(crate) fn new(is_flexible: bool) -> Self {
        Self {
            out: vec![0; 4],
            is_flexible,
        }
    }

    /// The whole answer, with its length before it.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.end_struct();
        let len = u32::try_from(self.out.len().saturating_sub(4)).unwrap_or(u32::MAX);
        if let Some(head) = self.out.first_chunk_mut() {
            *head = len.to_be_bytes();
        }
        self.out
    }

    pub(crate) fn i8(&mut self, number: i8) {
        self.out.extend(number.to_be_bytes());
    }

    pub(crate) fn i16(&mut self, number: i16) {
        self.out.extend(number.to_be_bytes());
    }

    pub(crate) fn i32(&mut self, number: i32) {
        self.out.extend(number.to_be_bytes());
    }

    pub(crate) fn i64(&mut self, number: i64) {
        self.out.extend(number.to_be_bytes());
    }

    pub(crate) fn bool(&mut self, is: bool) {
        self.i8(is.into());
    }

    fn varint(&mut self, mut number: u32) {
        loop {
            let low = number.to_le_bytes()[0] & 0x7f;
            number >>= 7;
            if number == 0 {
                return self.out.push(low);
            }
            self.out.push(low | 0x80);
        }
    }

    fn len(&mut self, len: Option<usize>, fixed: impl FnOnce(&mut Self, i32)) {
        let len = len.map(|len| i32::try_from(len).unwrap_or(i32::MAX));
        match (self.is_flexible, len) {
            (true, len) => self.varint(len.map_or(0, |len| len.unsigned_abs() + 1)),
            (false, len) => fixed(self, len.unwrap_or(-1)),
        }
    }

    pub(crate) fn opt_text(&mut self, text: Option<&str>) {
        // Those that are written are short.
        let text = text.map(|text| text.get(..i16::MAX as usize).unwrap_or(text));
        self.len(text.map(str::len), |writer, len| {
            writer.i16(i16::try_from(len).unwrap_or(i16::MAX));
        });
        self.out.extend(text.unwrap_or_default().as_bytes());
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.opt_text(Some(text));
    }

    pub(crate) fn opt_bytes(&mut self, bytes: Option<&[u8]>) {
        self.len(bytes.map(<[u8]>::len), Self::i32);
        self.out.extend(bytes.unwrap_or_default());
    }

    /// How many items follow.
    pub(crate) fn count(&mut self, count: usize) {
        self.len(Some(count), Self::i32);
    }

    /// No list at all.
    pub(crate) fn no_list(&mut self) {
        self.len(None, Self::i32);
    }

    /// Topics with their partitions, each as `partition` writes it up to its end.
    pub(crate) fn topics<P>(
        &mut self,
        topics: &[(String, Vec<P>)],
        partition: impl Fn(&mut Self, &P),
    ) {
        self.count(topics.len());
        for (name, partitions) in topics {
            self.text(name);
            self.count(partitions.len());
            for told in partitions {
                partition(self, told);
                self.end_struct();
            }
            self.end_struct();
        }
    }

    /// The end of a structure.
    pub(crate) fn end_struct(&mut self) {
        if self.is_flexible {
            self.varint(0);
        }
    }

    /// The end of the head of an answer: what follows is of a flexible version, or not.
    pub(crate) fn body(mut self, is_flexible: bool) -> Self {
        self.end_struct();
        self.is_flexible = is_flexible;
        self
    }
}
