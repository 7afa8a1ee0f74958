//! How fast sources may be: bounds that the program sets, and back-pressure.
//!
//! | file | holds |
//! |---|---|
//! | `bucket` | records per second, as a bucket of tokens |
//! | `pid` | the estimator of a rate that the batches keep up with |
//! | `back_pressure` | its settings |
//! | `source_rate` | what holds for one source |

pub(crate) mod back_pressure;
pub(crate) mod bucket;
pub(crate) mod pid;
pub(crate) mod source_rate;
