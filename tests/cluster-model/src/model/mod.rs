//! The model: processes that crash, stop and lose each other, and what they do.
//!
//! | file | holds |
//! |---|---|
//! | `config` | [`Config`]: bounds, faults, deliberate bugs |
//! | `state` | [`State`]: what is volatile, what is in flight |
//! | `step` | one step under way: its state and its events |
//! | `member` | what every process does |
//! | `manifests` | what process 0 does with the store |
//! | `lead` | what process 0 does as the leader of a generation |
//! | `fault` | what goes wrong |
//! | `action` | [`Action`]: which steps are possible, and their effect |
//! | `check` | the exhaustive check |
//! | `forward` | whether steps without faults only go forward |
//! | `walk` | random walks, as traces |

mod action;
mod check;
mod config;
mod fault;
mod forward;
mod lead;
mod manifests;
mod member;
mod state;
mod step;
mod walk;

pub use action::Action;
pub use check::{Outcome, check, explain};
pub use config::{Bug, Config, Fault};
pub use forward::circles;
pub use state::State;
pub use walk::walk;
