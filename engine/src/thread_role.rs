//! Whether the calling thread is one of a context's own. Then it must not wait for the context,
//! which waits for it.

use std::cell::Cell;

/// What a thread is doing for a context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Nothing: it is the program's.
    Outside,
    /// It runs a batch: operators, outputs.
    Batch,
    /// It runs a receiver.
    Receiver,
}

thread_local! {
    static ROLE: Cell<Role> = const { Cell::new(Role::Outside) };
}

/// Gives the calling thread a role until it is dropped.
#[derive(Debug)]
pub(crate) struct RoleGuard {
    before: Role,
}

impl RoleGuard {
    pub(crate) fn enter(role: Role) -> Self {
        Self {
            before: ROLE.replace(role),
        }
    }
}

impl Drop for RoleGuard {
    fn drop(&mut self) {
        ROLE.set(self.before);
    }
}

/// The role of the calling thread.
pub(crate) fn role() -> Role {
    ROLE.get()
}
