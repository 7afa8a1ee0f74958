//! The door for Kafka clients.

use crate::args::ServeArgs;
use highwater_kafka::{KafkaError, KafkaOptions, KafkaServer, Tls};
use highwater_log::outcome::{Failure, Result};
use highwater_streams::Streams;
use std::sync::Arc;

/// Topics are the streams that HTTP has under this path.
const PREFIX: &str = "/v1/stream/";

/// Serves the streams as topics, if that was asked for.
pub(crate) fn serve(
    args: &ServeArgs,
    tokens: &[(String, String)],
    streams: &Arc<Streams>,
) -> Result<Option<KafkaServer>> {
    let Some(address) = &args.kafka else {
        return Ok(None);
    };
    let mut options = KafkaOptions::new().prefix(PREFIX);
    if let Some(advertised) = &args.kafka_advertised {
        options = options.advertised(advertised);
    }
    for (name, partitions) in &args.kafka_topic {
        options = options.topic(name, *partitions);
    }
    if args.kafka_create {
        options = options.auto_create();
    }
    if let (Some(cert), Some(key)) = (&args.cert, &args.key) {
        options = options.tls(Tls::files(cert, key));
    }
    if args.insecure {
        options = options.insecure();
    }
    for (name, secret) in tokens {
        options = options.token(name, secret);
    }
    let server = KafkaServer::start(Arc::clone(streams), address, options);
    server.map(Some).map_err(|error| match error {
        error @ KafkaError::BadOptions { .. } => Failure::Usage(error.to_string()),
        error => Failure::Io(error.to_string()),
    })
}
