//! `serve_states`: the states of a running program over HTTP.
//!
//! | file | holds |
//! |---|---|
//! | `server` | starting and stopping |
//! | `options` | settings |
//! | `door` | one request: what is looked at, and what it waits for |
//! | `feed` | what each batch changes, as server-sent events |
//! | `question` | what a request asks, by its path and query |
//! | `answer` | what the client is told |
//! | `turns` | how much goes on at a time |
//! | `percent` | texts in addresses |

mod answer;
mod door;
mod feed;
mod options;
mod percent;
mod question;
mod server;
mod turns;

pub use options::StateDoorOptions;
pub use server::{ServeStates, StateServer};
