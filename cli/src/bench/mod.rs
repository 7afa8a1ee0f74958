//! `highwater bench`: what this machine does, beside what it could do at most.
//!
//! | file | holds |
//! |---|---|
//! | `engine` | `bench engine`: runs the workloads and prints the report |
//! | `report` | what is printed |
//! | `workload` | a program, and the source that feeds it |
//! | `programs` | the programs that are measured |
//! | `many_keys` | a state of many keys |
//! | `latency` | from the source to the output, at half load |
//! | `corpus` | the text that is counted |
//! | `bound` | the same work in plain code, or one flush, and nothing else |

mod bound;
mod corpus;
mod engine;
mod latency;
mod many_keys;
mod programs;
mod report;
mod workload;

pub(crate) use engine::bench_engine;
