//! A client that says what it likes.

use bytes::{Bytes, BytesMut};
use highwater_kafka::{KafkaOptions, KafkaServer};
use highwater_streams::{From, NewStream, Options, Page, RecordRef, Streams};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{
    ApiKey, FetchRequest, FetchResponse, ProduceRequest, ProduceResponse, RequestHeader,
    ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use kafka_protocol::records::{
    Compression, Record, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Versions that this client speaks.
const PRODUCE: i16 = 9;
const FETCH: i16 = 12;

pub(crate) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub(crate) fn topic(name: &str) -> TopicName {
    TopicName(text(name))
}

/// Streams in a directory, and a server of them.
pub(crate) struct World {
    pub(crate) streams: Arc<Streams>,
    pub(crate) server: KafkaServer,
}

impl World {
    pub(crate) fn open(dir: &Path, streams: Options, options: KafkaOptions) -> Self {
        let streams = Arc::new(Streams::open(dir, streams).unwrap());
        let server = KafkaServer::start(Arc::clone(&streams), "127.0.0.1:0", options).unwrap();
        Self { streams, server }
    }

    /// With a topic `t`.
    pub(crate) fn new(dir: &Path) -> Self {
        Self::open(dir, Options::new(), KafkaOptions::new().topic("t", 1))
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.addr())
    }

    pub(crate) fn page(&self, name: &str) -> Page {
        let page = self.streams.read(name, From::Start, 1 << 20).unwrap();
        page.wait().unwrap().unwrap()
    }

    /// The values of a topic.
    pub(crate) fn values(&self, name: &str) -> Vec<String> {
        let page = self.page(name);
        let value = |message| RecordRef::decode(message).unwrap().value.unwrap();
        let values = page.pieces().map(|message| value(message).to_vec());
        values
            .map(|value| String::from_utf8(value).unwrap())
            .collect()
    }

    pub(crate) fn create(&self, name: &str, content_type: &str) {
        let new = NewStream {
            content_type: Some(content_type),
            ..NewStream::default()
        };
        let created = self.streams.create(name, &new).unwrap();
        created.wait().unwrap().unwrap();
    }

    pub(crate) fn close(self) {
        drop(self.server);
        self.streams.close().unwrap();
    }
}

/// Who sends a batch: id, epoch, first sequence.
pub(crate) type Sender = (i64, i16, i32);
/// A producer that numbers nothing.
pub(crate) const ANYONE: Sender = (-1, -1, -1);

fn record(sender: Sender, index: usize, key: Option<&str>, value: &str) -> Record {
    let (producer_id, producer_epoch, first) = sender;
    let index = i32::try_from(index).unwrap();
    Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: 0,
        producer_id,
        producer_epoch,
        timestamp_type: TimestampType::Creation,
        offset: index.into(),
        sequence: first + index,
        timestamp: 5_000 + i64::from(index),
        key: key.map(|key| Bytes::copy_from_slice(key.as_bytes())),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        headers: kafka_protocol::indexmap::IndexMap::new(),
    }
}

/// A batch of records with these values.
pub(crate) fn batch(sender: Sender, key: Option<&str>, values: &[&str]) -> Bytes {
    let records = values.iter().enumerate();
    let records: Vec<Record> = records
        .map(|(index, value)| record(sender, index, key, value))
        .collect();
    let options = RecordEncodeOptions {
        version: 2,
        compression: Compression::None,
    };
    let mut out = BytesMut::new();
    RecordBatchEncoder::encode(&mut out, &records, &options).unwrap();
    out.freeze()
}

/// A batch of one record of so many equal bytes, compressed.
pub(crate) fn bomb(len: usize) -> Bytes {
    let value = "x".repeat(len);
    let records = [record(ANYONE, 0, None, &value)];
    let options = RecordEncodeOptions {
        version: 2,
        compression: Compression::Zstd,
    };
    let mut out = BytesMut::new();
    RecordBatchEncoder::encode(&mut out, &records, &options).unwrap();
    out.freeze()
}

/// Batches to partitions of topics.
pub(crate) fn produce(
    acks: i16,
    timeout_ms: i32,
    batches: &[(&str, i32, Bytes)],
) -> ProduceRequest {
    let data = batches.iter().map(|(name, index, batch)| {
        let partition = PartitionProduceData::default()
            .with_index(*index)
            .with_records(Some(batch.clone()));
        TopicProduceData::default()
            .with_name(topic(name))
            .with_partition_data(vec![partition])
    });
    ProduceRequest::default()
        .with_acks(acks)
        .with_timeout_ms(timeout_ms)
        .with_topic_data(data.collect())
}

/// What is read from partitions, each with its offset.
pub(crate) fn fetch(max_wait_ms: i32, wanted: &[(&str, i32, i64)]) -> FetchRequest {
    let topics = wanted.iter().map(|(name, index, offset)| {
        let partition = FetchPartition::default()
            .with_partition(*index)
            .with_fetch_offset(*offset)
            .with_partition_max_bytes(1 << 20);
        FetchTopic::default()
            .with_topic(topic(name))
            .with_partitions(vec![partition])
    });
    FetchRequest::default()
        .with_max_wait_ms(max_wait_ms)
        .with_min_bytes(1)
        .with_max_bytes(1 << 20)
        .with_topics(topics.collect())
}

pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    next: i32,
}

impl Client {
    pub(crate) fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).unwrap();
        // A server that does not answer fails the test instead of stopping it.
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        Self { stream, next: 0 }
    }

    /// The bytes of a request.
    pub(crate) fn frame(&mut self, key: ApiKey, version: i16, body: &impl Encodable) -> Vec<u8> {
        self.next += 1;
        let header = RequestHeader::default()
            .with_request_api_key(key as i16)
            .with_request_api_version(version)
            .with_correlation_id(self.next)
            .with_client_id(Some(text("a test")));
        let mut out = BytesMut::new();
        header
            .encode(&mut out, key.request_header_version(version))
            .unwrap();
        body.encode(&mut out, version).unwrap();
        let length = u32::try_from(out.len()).unwrap();
        [&length.to_be_bytes()[..], &out].concat()
    }

    /// The next answer; `None` if the server has closed the connection.
    pub(crate) fn answer<T: Decodable>(&mut self, key: ApiKey, version: i16) -> Option<(i32, T)> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).ok()?;
        let mut bytes = vec![0; u32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut bytes).ok()?;
        let mut bytes = Bytes::from(bytes);
        let header = key.response_header_version(version);
        let header = ResponseHeader::decode(&mut bytes, header).unwrap();
        let body = T::decode(&mut bytes, version).unwrap();
        Some((header.correlation_id, body))
    }

    pub(crate) fn ask<T: Decodable>(
        &mut self,
        key: ApiKey,
        version: i16,
        body: &impl Encodable,
    ) -> Option<T> {
        let frame = self.frame(key, version, body);
        self.stream.write_all(&frame).unwrap();
        let (correlation, body) = self.answer(key, version)?;
        assert_eq!(correlation, self.next);
        Some(body)
    }

    /// Whether the server has closed the connection.
    pub(crate) fn is_closed(&mut self) -> bool {
        match self.stream.read(&mut [0]) {
            Ok(read) => read == 0,
            Err(error) => match error.kind() {
                // Its patience is at an end, and not the connection.
                ErrorKind::WouldBlock | ErrorKind::TimedOut => panic!("it is still open"),
                _ => true,
            },
        }
    }

    /// The bytes of a request to append.
    pub(crate) fn produce_frame(&mut self, body: &ProduceRequest) -> Vec<u8> {
        self.frame(ApiKey::Produce, PRODUCE, body)
    }

    pub(crate) fn produced(&mut self) -> Option<PartitionProduceResponse> {
        let (_, body): (_, ProduceResponse) = self.answer(ApiKey::Produce, PRODUCE)?;
        body.responses
            .into_iter()
            .next()?
            .partition_responses
            .into_iter()
            .next()
    }

    /// The codes of all partitions of an answer.
    pub(crate) fn codes(&mut self) -> Vec<i16> {
        let (_, body): (_, ProduceResponse) = self.answer(ApiKey::Produce, PRODUCE).unwrap();
        let partitions = body
            .responses
            .into_iter()
            .flat_map(|topic| topic.partition_responses);
        partitions.map(|told| told.error_code).collect()
    }

    /// Appends to one partition: the code, and the offset.
    pub(crate) fn produce(&mut self, name: &str, index: i32, batch: &Bytes) -> (i16, i64) {
        let body = produce(-1, 1_000, &[(name, index, batch.clone())]);
        let frame = self.produce_frame(&body);
        self.stream.write_all(&frame).unwrap();
        let told = self.produced().expect("an answer");
        (told.error_code, told.base_offset)
    }

    pub(crate) fn fetch(&mut self, body: &FetchRequest) -> Vec<PartitionData> {
        let read: FetchResponse = self.ask(ApiKey::Fetch, FETCH, body).expect("an answer");
        let partitions = read
            .responses
            .into_iter()
            .flat_map(|topic| topic.partitions);
        partitions.collect()
    }
}

/// Offsets and values of what was read of a partition.
pub(crate) fn read(partition: &PartitionData) -> Vec<(i64, String)> {
    let mut bytes = partition.records.clone().unwrap_or_default();
    if bytes.is_empty() {
        return Vec::new();
    }
    let set = RecordBatchDecoder::decode(&mut bytes).unwrap();
    let value = |record: &Record| record.value.clone().unwrap_or_default().to_vec();
    let all = set.records.iter().map(|record| {
        let value = String::from_utf8(value(record)).unwrap();
        (record.offset, value)
    });
    all.collect()
}
