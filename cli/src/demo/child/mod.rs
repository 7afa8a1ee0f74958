//! The program that is killed.
//!
//! | file | holds |
//! |---|---|
//! | `run` | the process: runs the program, reports, stops |
//! | `program` | a word count with state |
//! | `seen_lines` | a state: which lines were counted |
//! | `event` | what the child reports to the parent |

pub(crate) mod event;
pub(crate) mod program;
pub(crate) mod run;
pub(crate) mod seen_lines;
