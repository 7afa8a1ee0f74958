//! The page over HTTP.
//!
//! | file | holds |
//! |---|---|
//! | `ui` | `Ui`: how it is begun, and how it ends |
//! | `options` | its settings |
//! | `door` | one request |
//! | `answer` | what every answer says |
//! | `assets` | scripts and styles, by their contents |
//! | `look` | one look at the program for all who are shown it |
//! | `feed` | what changes, for a page that is open |

mod answer;
mod assets;
mod door;
mod feed;
mod look;
pub(crate) mod options;
pub(crate) mod ui;
