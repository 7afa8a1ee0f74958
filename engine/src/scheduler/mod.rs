//! When batches are cut, and the order of their durable steps.
//!
//! | file | holds |
//! |---|---|
//! | `clock` | batch times: multiples of the interval that never fall |
//! | `cutter` | ends a batch: a record in the log |
//! | `driver` | runs batches |
//! | `workers` | the workers of the driver, which are built again when they are lost |
//! | `rebuild` | the way to build them |
//! | `attempts` | how often a batch that fails is run again, and after what time |
//! | `ending` | whether the context is to end |
//! | `cut_batches` | what was cut and has not finished |
//! | `commit` | commits their outputs |
//! | `refused_records` | what batches have refused, on its way to the workers and into the log |
//! | `side_values` | what the driver keeps beside the states of operators |

pub(crate) mod attempts;
pub(crate) mod clock;
pub(crate) mod commit;
pub(crate) mod cut_batches;
pub(crate) mod cutter;
pub(crate) mod driver;
pub(crate) mod ending;
pub(crate) mod rebuild;
pub(crate) mod refused_records;
pub(crate) mod side_values;
pub(crate) mod workers;
