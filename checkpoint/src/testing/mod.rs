//! For tests: a store in memory, and one that fails as object stores do.
//!
//! | file | holds |
//! |---|---|
//! | `memory` | a store in memory |
//! | `trouble` | how a call to a store goes wrong |
//! | `unreliable` | a store around another, some of whose calls go wrong |

mod memory;
mod trouble;
mod unreliable;

pub use memory::MemoryStore;
pub use trouble::Trouble;
pub use unreliable::UnreliableStore;
