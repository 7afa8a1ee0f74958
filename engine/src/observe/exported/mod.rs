//! Events as metrics.
//!
//! | file | holds |
//! |---|---|
//! | `metrics` | what goes to the `metrics` facade |
//! | `metric_list` | what each metric says |

pub(crate) mod metric_list;
pub(crate) mod metrics;
