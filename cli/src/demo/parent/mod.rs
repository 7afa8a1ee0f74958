//! The process that kills the child and checks its result.
//!
//! | file | holds |
//! |---|---|
//! | `run` | the whole run, kill after kill |
//! | `corpus` | the text that is sent, and its true count |
//! | `work_dir` | the directory of the run |
//! | `kills` | when the child is killed |
//! | `child_process` | one process of the child, from start to end |
//! | `sender` | sending lines until they are acknowledged |
//! | `progress` | what is shown meanwhile |
//! | `result` | what the child has counted |
//! | `verdict` | the comparison with the true count |
//! | `report` | the tables at the end |

mod child_process;
mod corpus;
mod kills;
mod progress;
mod report;
mod result;
pub(crate) mod run;
mod sender;
mod verdict;
mod work_dir;
