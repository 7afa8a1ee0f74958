//! `highwater demo`: durable word count under `kill -9`, compared with the truth.
//!
//! The parent ([`run()`]) reads text, counts it in one pass, starts the child, feeds it and kills
//! it; the child ([`run_child`]) is an ordinary Highwater program. Nothing but the child's
//! directory connects one life of it with the next.

#[cfg(feature = "deliberate-faults")]
mod cheat;
mod child;
mod corpus;
mod event;
mod feed;
#[cfg(not(feature = "deliberate-faults"))]
mod honest;
mod life;
mod marks;
mod place;
mod program;
mod random;
mod result;
mod run;
mod schedule;
mod show;
mod table;
mod verdict;

#[cfg(feature = "deliberate-faults")]
pub(crate) use cheat::Faults;
pub(crate) use child::run_child;
#[cfg(not(feature = "deliberate-faults"))]
pub(crate) use honest::Faults;
pub(crate) use run::run;
