//! What lasts: logs, store and outputs. Events change it, and are judged by it.
//!
//! | file | holds |
//! |---|---|
//! | `durable` | [`World`] and its parts, as data |
//! | `logs` | events of one log: cuts, acknowledgements, truncation |
//! | `batches` | events of batches: fed, staged, committed, published |
//! | `store` | events of the store: manifests and state files |
//! | `take` | one event after the other |

mod batches;
mod durable;
mod logs;
mod store;
mod take;

pub use durable::{Log, Part, Saving, World};
pub use take::take;
