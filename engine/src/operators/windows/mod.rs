//! Windows: operators that see several batches at once.
//!
//! | file | holds |
//! |---|---|
//! | `of_records` | windows of any stream, as users call them |
//! | `of_pairs` | windows of pairs, as users call them |
//! | `declare` | checks length and slide, and gives a stream its slide |
//! | `span` | length and slide, and the panes into which they cut time |
//! | `window` | the records of several batches, one by one |
//! | `kept` | the operator of all windows of pairs |
//! | `policies` | what it keeps of each key |
//! | `panes` | what a key has in each pane |
//! | `stacks` | the panes of a key, put together without an inverse |
//! | `running` | the panes of a key, put together with an inverse |
//! | `gathered` | all values of a key |
//! | `shared` | records that copies of a state share |

mod declare;
mod gathered;
mod kept;
mod of_pairs;
mod of_records;
mod panes;
mod policies;
mod running;
mod shared;
mod span;
mod stacks;
mod window;
