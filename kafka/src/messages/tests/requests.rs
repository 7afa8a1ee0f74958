//! What the other implementation writes is read.

use super::{CORRELATION, each_version, opened, request, text};
use crate::messages::{
    coordinator, fetch, metadata, offsets, produce, producer_id, sasl, versions,
};
use crate::wire::header::Api;
use crate::wire::reader::Reader;
use bytes::Bytes;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    ApiVersionsRequest, FetchRequest, FindCoordinatorRequest, InitProducerIdRequest,
    ListOffsetsRequest, MetadataRequest, ProduceRequest, SaslAuthenticateRequest,
    SaslHandshakeRequest, TopicName, TransactionalId,
};

fn topic(name: &str) -> TopicName {
    TopicName(text(name))
}

#[test]
fn produce_is_read() {
    let partition = |index, records: &'static [u8]| {
        PartitionProduceData::default()
            .with_index(index)
            .with_records(Some(Bytes::from_static(records)))
    };
    let data = |name, partitions| {
        TopicProduceData::default()
            .with_name(topic(name))
            .with_partition_data(partitions)
    };
    each_version(Api::Produce, |version| {
        let transaction = (version % 2 == 0).then(|| TransactionalId(text("t")));
        let body = ProduceRequest::default()
            .with_transactional_id(transaction)
            .with_acks(-1)
            .with_timeout_ms(1234)
            .with_topic_data(vec![
                data("a", vec![partition(0, b"xy"), partition(7, b"")]),
                data("b", vec![]),
            ]);
        let frame = request(Api::Produce, version, &body);
        let (head, reader) = opened(&frame);
        assert_eq!((head.version, head.correlation), (version, CORRELATION));
        let read = produce::read(version, reader).unwrap();
        assert_eq!(read.transaction.is_some(), version % 2 == 0);
        assert_eq!((read.acks, read.timeout_ms), (-1, 1234));
        let (a, b) = (&read.topics[0], &read.topics[1]);
        assert_eq!((a.0, b.0, b.1.len()), ("a", "b", 0));
        let partitions: Vec<_> = a.1.iter().map(|p| (p.index, p.batch)).collect();
        assert_eq!(partitions, [(0, &b"xy"[..]), (7, b"")]);
    });
}

/// The other implementation does not know these.
#[test]
fn produce_of_old_versions_is_read() {
    let body = b"\0\x01\0\0\0\x05\0\0\0\x01\0\x01a\0\0\0\x01\0\0\0\x07\0\0\0\x02xy";
    for version in 0..3 {
        let read = produce::read(version, Reader::new(body)).unwrap();
        assert_eq!((read.acks, read.timeout_ms), (1, 5));
        let (name, partitions) = &read.topics[0];
        let found = (*name, partitions[0].index, partitions[0].batch);
        assert_eq!(found, ("a", 7, &b"xy"[..]));
    }
}

#[test]
fn fetch_is_read() {
    each_version(Api::Fetch, |version| {
        let partition = FetchPartition::default()
            .with_partition(3)
            .with_fetch_offset(99)
            .with_partition_max_bytes(1000);
        let mut body = FetchRequest::default()
            .with_max_wait_ms(500)
            .with_min_bytes(1)
            .with_max_bytes(5000)
            .with_topics(vec![
                FetchTopic::default()
                    .with_topic(topic("a"))
                    .with_partitions(vec![partition]),
            ]);
        if version >= 7 {
            let forgotten = ForgottenTopic::default()
                .with_topic(topic("old"))
                .with_partitions(vec![1, 2]);
            body = body
                .with_session_epoch(5)
                .with_forgotten_topics_data(vec![forgotten]);
        }
        if version >= 11 {
            body = body.with_rack_id(text("rack"));
        }
        if version >= 12 {
            body = body.with_cluster_id(Some(text("in a tagged field")));
        }
        let frame = request(Api::Fetch, version, &body);
        let read = fetch::read(version, opened(&frame).1).unwrap();
        assert_eq!(
            (read.max_wait_ms, read.min_bytes, read.max_bytes),
            (500, 1, 5000)
        );
        let expected = fetch::Partition {
            index: 3,
            offset: 99,
            max_bytes: 1000,
        };
        assert_eq!(read.topics, [("a".to_owned(), vec![expected])]);
    });
}

#[test]
fn list_offsets_is_read() {
    use offsets::Time;
    let times = [
        (-1, Time::Latest),
        (-2, Time::Earliest),
        (-3, Time::Unknown),
        (0, Time::At(0)),
        (i64::MAX, Time::At(i64::MAX.unsigned_abs())),
    ];
    each_version(Api::ListOffsets, |version| {
        let partitions = times.iter().zip(0..).map(|((timestamp, _), index)| {
            ListOffsetsPartition::default()
                .with_partition_index(index)
                .with_timestamp(*timestamp)
        });
        let body = ListOffsetsRequest::default().with_topics(vec![
            ListOffsetsTopic::default()
                .with_name(topic("a"))
                .with_partitions(partitions.collect()),
        ]);
        let frame = request(Api::ListOffsets, version, &body);
        let read = offsets::read(version, opened(&frame).1).unwrap();
        let expected: Vec<_> = times.iter().zip(0..).map(|((_, t), i)| (i, *t)).collect();
        assert_eq!(read, [("a".to_owned(), expected)]);
    });
}

#[test]
fn metadata_is_read() {
    each_version(Api::Metadata, |version| {
        let named = |name| MetadataRequestTopic::default().with_name(Some(topic(name)));
        let mut body = MetadataRequest::default().with_topics(Some(vec![named("a"), named("b")]));
        if version >= 4 {
            body = body.with_allow_auto_topic_creation(false);
        }
        let frame = request(Api::Metadata, version, &body);
        let read = metadata::read(version, opened(&frame).1).unwrap();
        assert_eq!(read.topics, Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(read.may_create, version < 4);
        // In version 0 an empty list asks for all, since then null does.
        let all = if version == 0 { Some(vec![]) } else { None };
        let frame = request(
            Api::Metadata,
            version,
            &MetadataRequest::default().with_topics(all),
        );
        let read = metadata::read(version, opened(&frame).1).unwrap();
        assert_eq!(read.topics, None);
        if version >= 1 {
            let none = MetadataRequest::default().with_topics(Some(vec![]));
            let frame = request(Api::Metadata, version, &none);
            let read = metadata::read(version, opened(&frame).1).unwrap();
            assert_eq!(read.topics, Some(vec![]));
        }
    });
}

#[test]
fn the_short_requests_are_read() {
    each_version(Api::InitProducerId, |version| {
        for id in [None, Some(TransactionalId(text("t")))] {
            let is_there = id.is_some();
            let body = InitProducerIdRequest::default().with_transactional_id(id);
            let frame = request(Api::InitProducerId, version, &body);
            let read = producer_id::read(version, opened(&frame).1);
            assert_eq!(read, Ok(is_there));
        }
    });
    each_version(Api::FindCoordinator, |version| {
        let kinds = [coordinator::Kind::Group, coordinator::Kind::Transaction];
        for (key_type, kind) in (0..).zip(kinds) {
            let mut body = FindCoordinatorRequest::default().with_key(text("g"));
            if version >= 1 {
                body = body.with_key_type(key_type);
            }
            let frame = request(Api::FindCoordinator, version, &body);
            let expected = if version >= 1 { kind } else { kinds[0] };
            assert_eq!(coordinator::read(version, opened(&frame).1), Ok(expected));
        }
    });
    each_version(Api::Versions, |version| {
        let mut body = ApiVersionsRequest::default();
        if version >= 3 {
            body = body
                .with_client_software_name(text("c"))
                .with_client_software_version(text("1"));
        }
        let frame = request(Api::Versions, version, &body);
        let (head, reader) = opened(&frame);
        assert_eq!(versions::read(head, reader), Ok(()));
    });
    each_version(Api::SaslHandshake, |version| {
        for (mechanism, is_offered) in [("PLAIN", true), ("GSSAPI", false)] {
            let body = SaslHandshakeRequest::default().with_mechanism(text(mechanism));
            let frame = request(Api::SaslHandshake, version, &body);
            assert_eq!(sasl::read_handshake(opened(&frame).1), Ok(is_offered));
        }
    });
    each_version(Api::SaslAuthenticate, |version| {
        let said = Bytes::from_static(b"\0name\0secret");
        let body = SaslAuthenticateRequest::default().with_auth_bytes(said);
        let frame = request(Api::SaslAuthenticate, version, &body);
        let read = sasl::read_authenticate(opened(&frame).1).unwrap();
        assert_eq!(sasl::read_plain(read), Some(("name", "secret")));
    });
}

#[test]
fn plain_is_a_name_and_a_secret() {
    assert_eq!(sasl::read_plain(b"n\0n\0s"), Some(("n", "s")));
    for other in [&b"m\0n\0s"[..], b"\0n", b"\0n\0s\0", b"", b"\0\xff\0s"] {
        assert_eq!(sasl::read_plain(other), None);
    }
}

/// Everything that is cut off anywhere is malformed, and so is what goes on behind its end.
#[test]
fn requests_have_the_length_that_they_have() {
    each_version(Api::Metadata, |version| {
        let named = MetadataRequestTopic::default().with_name(Some(topic("abc")));
        let body = MetadataRequest::default().with_topics(Some(vec![named]));
        let frame = request(Api::Metadata, version, &body);
        let (_, body) = opened(&frame);
        metadata::read(version, body).unwrap();
        for len in 0..frame.len() {
            let cut = &frame[..len];
            let read = crate::wire::header::Head::read(cut);
            if let Ok((_, crate::wire::header::Asked::Offered(_, reader))) = read {
                metadata::read(version, reader).unwrap_err();
            }
        }
        let longer = [&frame[..], &[0]].concat();
        metadata::read(version, opened(&longer).1).unwrap_err();
    });
}
