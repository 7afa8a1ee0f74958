#![doc = include_str!("../README.md")]
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "figures for people"
)]

mod live;
mod page;
mod server;
mod snapshot;

/// The metrics of HTTP servers, this one among them.
pub use highwater_http::METRICS as DOOR_METRICS;
pub use server::options::UiOptions;
pub use server::ui::{Ui, UiServer, serve};
pub use snapshot::*;
