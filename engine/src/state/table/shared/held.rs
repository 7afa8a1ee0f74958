//! What a worker changes and readers look at.
//!
//! The worker looks at it all the time: at every record of a batch. So it holds the lock, shared
//! with readers, and gives it up only to take it for itself, for one step of what it changes.

use parking_lot::lock_api::{ArcRwLockReadGuard, ArcRwLockWriteGuard};
use parking_lot::{RawRwLock, RwLock};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// A value that one worker changes and any thread may look at.
#[derive(Debug)]
pub(in crate::state::table) struct Held<T> {
    lock: Arc<RwLock<T>>,
    /// Always there, but while the worker changes the value.
    shared: Option<ArcRwLockReadGuard<RawRwLock, T>>,
}

impl<T> Held<T> {
    pub(in crate::state::table) fn new(value: T) -> Self {
        let lock = Arc::new(RwLock::new(value));
        let shared = Some(lock.read_arc());
        Self { lock, shared }
    }

    #[inline]
    pub(in crate::state::table) fn get(&self) -> &T {
        let shared = self.shared.as_ref();
        shared.expect("it is held while nothing changes it")
    }

    /// To change it. Waits for the readers that look at it; others wait until it is done.
    pub(in crate::state::table) fn change(&mut self) -> Changing<'_, T> {
        self.shared = None;
        Changing {
            alone: Some(self.lock.write_arc()),
            shared: &mut self.shared,
        }
    }

    /// For readers. They must not keep it locked for long: the worker may wait for it.
    pub(in crate::state::table) fn lock(&self) -> Arc<RwLock<T>> {
        Arc::clone(&self.lock)
    }
}

/// A value while its worker changes it.
pub(in crate::state::table) struct Changing<'a, T> {
    alone: Option<ArcRwLockWriteGuard<RawRwLock, T>>,
    shared: &'a mut Option<ArcRwLockReadGuard<RawRwLock, T>>,
}

impl<T> Deref for Changing<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.alone.as_ref().expect("it is locked until the end")
    }
}

impl<T> DerefMut for Changing<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.alone.as_mut().expect("it is locked until the end")
    }
}

impl<T> Drop for Changing<'_, T> {
    fn drop(&mut self) {
        *self.shared = self.alone.take().map(ArcRwLockWriteGuard::downgrade);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_look_on_until_it_is_changed_and_after() {
        let mut held = Held::new(1);
        let lock = held.lock();
        assert_eq!((*held.get(), *lock.read()), (1, 1));
        let mut changing = held.change();
        *changing = 2;
        assert!(lock.try_read().is_none());
        drop(changing);
        assert_eq!((*held.get(), *lock.try_read().unwrap()), (2, 2));
        assert!(lock.try_write().is_none(), "the worker looks at it");
    }

    #[test]
    fn a_panic_while_it_is_changed_leaves_it_held() {
        let mut held = Held::new(1);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            *held.change() = 2;
            let _changing = held.change();
            std::panic::resume_unwind(Box::new(()));
        }));
        assert!(panicked.is_err());
        assert_eq!(*held.get(), 2);
        assert!(held.lock().try_write().is_none());
    }
}
