//! Producers that number their messages.

/// Who appends, and the number of the first message: messages are numbered one by one, from 0 on in
/// each epoch, and follow 2^31 - 1 with 0. A retry of one of the newest five batches of the
/// producer is recognised if it has the same messages. A producer that is not known may begin
/// anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    /// Its id, by [`Streams::new_producer_id`](crate::Streams::new_producer_id).
    pub producer: u64,
    /// A later life of the producer has a higher one.
    pub epoch: u16,
    /// Number of the first message, less than 2^31.
    pub first: u32,
}

impl Batch {
    /// How many numbers there are.
    pub(crate) const NUMBERS: u64 = 1 << 31;

    /// The number that is `later` than another one.
    pub(crate) fn number_after(number: u32, later: u64) -> u32 {
        let sum = u64::from(number).wrapping_add(later) % Self::NUMBERS;
        u32::try_from(sum).unwrap_or_default()
    }

    /// How many numbers there are from one to another, which follows.
    pub(crate) fn distance(from: u32, to: u32) -> u64 {
        (u64::from(to) + Self::NUMBERS - u64::from(from)) % Self::NUMBERS
    }

    /// A number, if it is one of a message.
    pub(crate) fn number(number: u64) -> Option<u32> {
        let number = u32::try_from(number).ok()?;
        (u64::from(number) < Self::NUMBERS).then_some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_begin_anew() {
        let last = 0x7fff_ffff;
        assert_eq!(Batch::number_after(last, 1), 0);
        assert_eq!(Batch::number_after(last - 1, 5), 3);
        assert_eq!(Batch::distance(last, 0), 1);
        assert_eq!(Batch::distance(3, 4), 1);
        assert_eq!(Batch::distance(4, 3), u64::from(last));
        assert_eq!(Batch::number(u64::from(last)), Some(last));
        assert_eq!(Batch::number(u64::from(last) + 1), None);
    }
}
