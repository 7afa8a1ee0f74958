//! `http`: requests that are answered with 200 when what they carried is on the disk.
//!
//! | file | holds |
//! |---|---|
//! | `options` | settings |
//! | `receiver` | starting and stopping |
//! | `request` | one request: what is looked at, in which order |
//! | `budgets` | which part of the memory each sender may have |
//! | `encoding` | compressed bodies, in bounded memory |
//! | `format` | a body becomes records |
//! | `fuzzing` | what the fuzzer feeds |
//! | `skipped` | records that are left out, and where they were |
//! | `retry` | headers by which a retry is known |
//! | `store` | the records go into the log, as one frame |
//! | `answer` | what the client is told |

mod answer;
mod budgets;
mod encoding;
mod format;
#[cfg(any(test, fuzzing))]
mod fuzzing;
mod options;
mod receiver;
mod request;
mod retry;
mod skipped;
mod store;

#[cfg(fuzzing)]
pub use fuzzing::body as fuzz_http_body;
pub use options::HttpOptions;
pub(crate) use receiver::HttpReceiver;
