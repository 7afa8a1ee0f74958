//! When batches are cut, and the order of their durable steps.
//!
//! | file | holds |
//! |---|---|
//! | `clock` | batch times: multiples of the interval that never fall |
//! | `cutter` | ends a batch: a record in the log |
//! | `driver` | runs batches |
//! | `commit` | commits their outputs |
//! | `side_values` | what the driver keeps beside the states of operators |

pub(crate) mod clock;
pub(crate) mod commit;
pub(crate) mod cutter;
pub(crate) mod driver;
pub(crate) mod side_values;
