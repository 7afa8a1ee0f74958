//! Brokers, topics, and what a program may set.

use rdkafka::ClientConfig;
use std::collections::BTreeMap;

/// Where to begin with a partition that no batch has had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StartAt {
    /// At the oldest record that the broker keeps.
    #[default]
    Earliest,
    /// Behind the newest one. A partition that is added later begins where it ends when it is first
    /// seen.
    Latest,
}

/// What [`Sources::kafka`](crate::Sources::kafka) reads.
///
/// ```
/// use highwater_connectors::{Kafka, StartAt};
///
/// let orders = Kafka::new("broker-1:9092,broker-2:9092", ["orders"])
///     .start_at(StartAt::Latest)
///     .property("security.protocol", "plaintext");
/// # let _ = orders;
/// ```
#[derive(Clone)]
pub struct Kafka {
    pub(super) topics: Vec<String>,
    pub(super) start_at: StartAt,
    pub(super) max_records: u64,
    pub(super) skips_lost: bool,
    brokers: String,
    properties: BTreeMap<String, String>,
}

impl std::fmt::Debug for Kafka {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Properties may have passwords.
        f.debug_struct("Kafka")
            .field("brokers", &self.brokers)
            .field("topics", &self.topics)
            .finish_non_exhaustive()
    }
}

impl Kafka {
    /// All partitions of `topics`, from brokers of which `brokers` names some (`host:port`,
    /// separated by commas). Partitions that are added later are read too.
    #[must_use]
    pub fn new<T: Into<String>>(
        brokers: impl Into<String>,
        topics: impl IntoIterator<Item = T>,
    ) -> Self {
        Self {
            topics: topics.into_iter().map(Into::into).collect(),
            start_at: StartAt::default(),
            max_records: 100_000,
            skips_lost: false,
            brokers: brokers.into(),
            properties: BTreeMap::new(),
        }
    }

    /// Where to begin with a partition that no batch has had; by default at its oldest record.
    #[must_use]
    pub fn start_at(mut self, start_at: StartAt) -> Self {
        self.start_at = start_at;
        self
    }

    /// At most so many offsets in a batch, over all partitions; 100,000 by default, and at least
    /// one of each partition. A backlog is read in batches that follow each other at once.
    #[must_use]
    pub fn max_records(mut self, records: u64) -> Self {
        self.max_records = records;
        self
    }

    /// Goes on behind records that the broker has deleted before a batch had them, with a warning
    /// and a count ([`SourceStats::vanished`](highwater_engine::SourceStats::vanished)). By
    /// default nothing more of the topics is read then, and each batch reports it as an error.
    #[must_use]
    pub fn skip_lost_records(mut self) -> Self {
        self.skips_lost = true;
        self
    }

    /// A property of librdkafka, such as `security.protocol`. What this source must decide itself
    /// (offsets, and what ends a partition) cannot be set.
    #[must_use]
    pub fn property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.properties.insert(name.into(), value.into());
        self
    }

    /// The settings of a consumer.
    pub(super) fn consumer(&self, source: &str) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("isolation.level", "read_committed")
            .set("queued.min.messages", "20000")
            .set("group.id", format!("highwater {source}"));
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        config
            .set("bootstrap.servers", &self.brokers)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "error");
        config
    }
}
