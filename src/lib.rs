#![doc = include_str!("../README.md")]

pub use highwater_connectors::engine::wal::disk;
pub use highwater_connectors::engine::*;
pub use highwater_connectors::{
    BoundAddress, Csv, FileFormat, FileInput, Files, Line, ListenOptions, Ndjson, Outputs, Sources,
    Text, TextRecord, show_recovery,
};

#[cfg(feature = "postgres")]
pub use highwater_connectors::postgres;
#[cfg(feature = "sqlite")]
pub use highwater_connectors::rusqlite;
#[cfg(feature = "http")]
pub use highwater_connectors::{HttpOptions, ServeStates, StateDoorOptions, StateServer, Tls};
#[cfg(feature = "kafka")]
pub use highwater_connectors::{Kafka, KafkaRecord, StartAt, rdkafka};
#[cfg(feature = "streams")]
pub use highwater_connectors::{Served, ServedRecord};

pub mod guide;
pub mod metrics;
pub mod testing;

/// What a program needs in scope: `use highwater::prelude::*;`
pub mod prelude {
    #[cfg(feature = "http")]
    pub use crate::ServeStates;
    pub use crate::{
        Batch, BoundAddress, BoxError, CheckpointPolicy, Csv, DStream, ErrorPolicy, FileInput,
        Files, KeyState, Line, ListenOptions, Ndjson, Outputs, Sources, StateGuard, StateSpec,
        StopMode, StreamScope, StreamingContext, UpdateSpec,
    };
}
