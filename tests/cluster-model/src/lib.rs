//! A model of several processes that run one program: generations, the fence, cuts, the exchange,
//! snapshots, manifests, the commit of outputs, truncation, rescale and the orderly end, with the
//! faults that they admit.
//!
//! It is the specification of the protocol. [`check`](model::check) explores it exhaustively
//! within bounds, and [`check_trace`] holds a run of a program against the same rules.
//! `README.md` says what is modelled and what is not.

pub mod event;
pub mod model;
mod order;
pub mod property;
mod trace;
pub mod world;

pub use event::{Event, Manifest, Member, What};
pub use property::{PROPERTIES, Property, Violation};
pub use trace::check_trace;
