#![doc = include_str!("../README.md")]
//!
//! # Files
//!
//! From the top down; each uses those below it.
//!
//! | file | holds |
//! |---|---|
//! | `server` | starting and stopping |
//! | `door` | one request: what is looked at, in which order |
//! | `write` | PUT, POST and DELETE |
//! | `look` | GET and HEAD |
//! | `feed` | a live read as server-sent events |
//! | `event` | data and positions as events |
//! | `asked`, `address` | what a request asks, by its headers; by its path and query |
//! | `time` | points in time as texts |
//! | `cursor` | numbers that keep caches apart |
//! | `beside` | work that may wait for the disk |
//! | `answer` | what a client is told |
//! | `options` | settings |

mod address;
mod answer;
mod asked;
mod beside;
mod cursor;
mod door;
mod event;
mod feed;
mod look;
mod options;
mod server;
mod time;
mod write;

pub use highwater_http::Tls;
pub use options::ServeOptions;
pub use server::{ServeError, StreamServer};
