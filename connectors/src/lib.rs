//! Sources and sinks for Highwater: sockets, files, console. One file each.
//!
//! They are extension traits of the engine's types: with [`Sources`] in scope a program calls
//! `ssc.socket_listen(..)`, with [`Outputs`] `stream.print()`. (The in-process input is the
//! engine's own: `ssc.input::<T>(name)`.)
//!
//! | source | kind of sender | what is acknowledged |
//! |---|---|---|
//! | [`Sources::socket_listen`] | clients that connect | every line, once it is durable |
//! | `Sources::http`, with the feature `http` | HTTP clients | every request, once it is durable |
//! | [`Sources::socket_text`] | a line server | nothing: lines can be lost at the server |
//! | [`Sources::text_file_stream`] | files in a directory | nothing; each is read exactly once |
//! | [`Sources::file_stream`] | the same, with any decoder, copied or read where they are | the same |
//! | `Sources::kafka`, with the feature `kafka` | topics of a broker | nothing; each record is counted once |
//! | `Sources::served`, `served_records`, with the feature `streams` | named streams of this process | nothing; each message is counted once |
//!
//! | sink | guarantee |
//! |---|---|
//! | [`Outputs::print`] | at least once |
//! | [`Outputs::save_as_text_files`] | transactional: exactly once |
//! | [`Outputs::save_as_files`]: NDJSON, CSV, formats of your own | transactional: exactly once |
//! | `Outputs::save_to_sqlite`, with the feature `sqlite` | idempotent: effectively once |
//! | `Outputs::save_to_postgres`, with the feature `postgres` | idempotent: effectively once |
//!
//! Beside them, with the feature `http`: `ServeStates` answers questions to the states of a program
//! that runs.

mod answers;
mod connection;
mod console;
mod dial;
mod file_stream;
#[cfg(feature = "http")]
mod http;
#[cfg(feature = "kafka")]
mod kafka;
mod line;
mod lines;
mod outputs;
mod paths;
mod progress;
mod save_as_files;
#[cfg(feature = "streams")]
mod served;
mod socket_listen;
mod socket_text;
mod sources;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod sql;
#[cfg(feature = "http")]
mod state_door;
mod text_file_stream;

pub use file_stream::FileInput;
pub use highwater_engine as engine;
#[cfg(feature = "http")]
pub use highwater_http::{METRICS as DOOR_METRICS, Tls};
#[cfg(feature = "http")]
pub use http::HttpOptions;
#[cfg(all(feature = "http", fuzzing))]
#[doc(hidden)]
pub use http::fuzz_http_body;
#[cfg(feature = "kafka")]
pub use kafka::{Kafka, KafkaRecord, StartAt};
pub use line::Line;
pub use outputs::Outputs;
#[cfg(feature = "postgres")]
pub use postgres;
pub use progress::show_recovery;
#[cfg(feature = "kafka")]
pub use rdkafka;
#[cfg(feature = "sqlite")]
pub use rusqlite;
pub use save_as_files::{Csv, FileFormat, Files, Ndjson, Text, TextRecord};
#[cfg(feature = "streams")]
pub use served::{Served, ServedRecord};
pub use socket_listen::{BoundAddress, ListenOptions};
pub use sources::Sources;
#[cfg(feature = "http")]
pub use state_door::{ServeStates, StateDoorOptions, StateServer};
