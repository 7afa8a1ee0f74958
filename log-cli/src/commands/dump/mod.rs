//! `highwater-log dump`.
//!
//! | file | holds |
//! |---|---|
//! | `command` | the command: which frames are read |
//! | `follow` | what becomes durable while another process writes |
//! | `printer` | which records are printed, and how |
//! | `decoder` | a program that turns payloads into text |

pub(crate) mod command;
mod decoder;
mod follow;
mod printer;
