//! Operators that keep a state for each key.
//!
//! | file | holds |
//! |---|---|
//! | `stateful` | what all operators have in common that keep a state for each key |
//! | `list_intake` | lists of values on their way to the states of their keys |
//! | `state_spec` | what stateful operators can be told beside their function |
//! | `state_stream` | results of `map_with_state`, and its states |
//! | `update_state` | `update_state_by_key` |
//! | `map_with_state` | `map_with_state` |

mod list_intake;
mod map_with_state;
pub(crate) mod state_spec;
pub(crate) mod state_stream;
pub(crate) mod stateful;
pub(crate) mod update_state;
