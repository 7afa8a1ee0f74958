//! Items of a batch on their way to their keys.
//!
//! Where there are many keys, items wait. They are brought to their keys group by group, so that
//! the keys of one group are in the cache: when those that wait would take much memory, and at the
//! end of the batch. Within a group items keep their order, so it does not matter when it is done.

use std::mem::size_of;

/// So many bytes of items wait at most, and one chunk more. What they own elsewhere does not count.
const MAX_WAITING: usize = 32 << 20;

/// So many chunks wait at most: that bounds what items own elsewhere.
const MAX_CHUNKS: usize = 8;

/// So many keys stay in the cache all together. Then items do not wait: they are in the cache, too.
const FEW_KEYS: u64 = 1 << 18;

/// Whether items are to wait, where there are `keys` keys.
pub(crate) fn is_worth_waiting(keys: u64) -> bool {
    keys > FEW_KEYS
}

/// What `groups` has of a key group, which is its default where there was nothing.
#[inline]
pub(crate) fn group_mut<T: Default>(groups: &mut Vec<T>, group: u32) -> &mut T {
    let group = usize::try_from(group).expect("groups fit the address space");
    if groups.len() <= group {
        groups.resize_with(group + 1, T::default);
    }
    groups
        .get_mut(group)
        .expect("the list reaches to this group")
}

/// Items that wait, by key group.
#[derive(Debug)]
pub(crate) struct Intake<I> {
    buckets: Vec<Vec<I>>,
    waiting: usize,
    chunks: usize,
}

impl<I> Default for Intake<I> {
    fn default() -> Self {
        Self {
            buckets: Vec::new(),
            waiting: 0,
            chunks: 0,
        }
    }
}

impl<I> Intake<I> {
    /// Adds an item of `group`.
    #[inline]
    pub(crate) fn add(&mut self, group: u32, item: I) {
        group_mut(&mut self.buckets, group).push(item);
        self.waiting += 1;
    }

    /// Whether none waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// All items of a chunk were added. Whether it is time to bring them.
    pub(crate) fn chunk_is_in(&mut self) -> bool {
        self.chunks += 1;
        self.chunks >= MAX_CHUNKS || self.waiting.saturating_mul(size_of::<I>()) >= MAX_WAITING
    }

    /// Brings all items, group by group. Room for the next ones is kept.
    ///
    /// # Errors
    /// The first one of `f`; then the batch has failed, and its items are dropped.
    pub(crate) fn bring<E>(&mut self, mut f: impl FnMut(u32, I) -> Result<(), E>) -> Result<(), E> {
        (self.waiting, self.chunks) = (0, 0);
        for (group, bucket) in (0..).zip(&mut self.buckets) {
            bucket.drain(..).try_for_each(|item| f(group, item))?;
        }
        Ok(())
    }

    /// Drops the items, and the room that they had.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    fn brought<I>(intake: &mut Intake<I>) -> Vec<(u32, I)> {
        let mut all = Vec::new();
        let Ok(()) = intake.bring::<Infallible>(|group, item| {
            all.push((group, item));
            Ok(())
        });
        all
    }

    #[test]
    fn items_come_out_by_group_in_their_order() {
        let mut intake = Intake::default();
        for _ in 0..2 {
            for n in 0..20_u32 {
                intake.add(n % 3 * 2, n);
            }
            let group = |group: u32| (0..20).filter(move |n| n % 3 * 2 == group);
            let expected = [0, 2, 4].map(|g| group(g).map(move |n| (g, n)));
            assert!(
                brought(&mut intake)
                    .into_iter()
                    .eq(expected.into_iter().flatten())
            );
            assert!(brought(&mut intake).is_empty());
        }
        intake.add(1, 7);
        assert_eq!(intake.bring(|_, n| Err(n)), Err(7));
        assert!(brought(&mut intake).is_empty());
        intake.add(1, 7);
        intake.clear();
        assert!(brought(&mut intake).is_empty());
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut intake = Intake::default();
        let mut chunk = |items: usize| {
            (0..items).for_each(|_| intake.add(7, [0_u8; 1024]));
            intake.chunk_is_in()
        };
        assert!(!chunk(MAX_WAITING / 1024 - 1));
        assert!(chunk(1));
        intake.clear();
        let mut chunk = || intake.chunk_is_in();
        assert!(!chunk());
        drop(brought(&mut intake));
        let mut chunk = || intake.chunk_is_in();
        assert!((1..MAX_CHUNKS).all(|_| !chunk()));
        assert!(chunk());
    }
}
