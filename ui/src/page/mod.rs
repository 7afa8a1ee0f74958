//! The page as HTML, made of a snapshot. It reads the same without scripts.
//!
//! | file | holds |
//! |---|---|
//! | `document` | the page as a whole |
//! | `panels` | which panels there are, and what each says |
//! | `panel` | what a panel consists of |
//! | `tables` | the tables of the panels |
//! | `log_map` | the log as a drawing |
//! | `graph` | the operators as a drawing |
//! | `update` | what of a page changes, for pages that are open |
//! | `text` | numbers, sizes and times for people |

pub(crate) mod document;
mod graph;
mod log_map;
mod panel;
mod panels;
mod tables;
mod text;
pub(crate) mod update;
