//! Asking for the states of a program while it runs.
//!
//! | file | holds |
//! |---|---|
//! | `state_reader` | what a program asks a state for |
//! | `snapshot` | the same at one batch |
//! | `changes` | what each batch has changed |
//! | `json_state` | states as JSON, for those who do not know the types |
//! | `asked` | one state, and how long a question may wait |
//! | `view` | one state at the end of one batch |
//! | `first` | the first keys of a walk that meets them in no order |
//! | `reaches` | waiting for a batch without a thread |
//! | `published` | up to which batch readers see the states, and the key groups they look at |
//! | `pins` | the batches that readers have pinned |
//! | `answer` | an answer, and of which batch it is |

pub(crate) mod answer;
pub(crate) mod asked;
pub(crate) mod changes;
mod first;
pub(crate) mod json_state;
pub(crate) mod pins;
pub(crate) mod published;
pub(crate) mod reaches;
pub(crate) mod snapshot;
pub(crate) mod state_reader;
mod view;
