//! What is written the other implementation reads.

use super::{answer, each_version, head, offer, text};
use crate::messages::{
    coordinator, fetch, metadata, offsets, produce, producer_id, sasl, versions,
};
use crate::wire::error::Code;
use crate::wire::header::{Api, OFFERED};
use crate::wire::writer::Writer;
use kafka_protocol::messages::{
    ApiVersionsResponse, FetchResponse, FindCoordinatorResponse, InitProducerIdResponse,
    ListOffsetsResponse, MetadataResponse, ProduceResponse, SaslAuthenticateResponse,
    SaslHandshakeResponse,
};

fn written(api: Api, version: i16, write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = head(api, version).answer(&offer(api));
    write(&mut writer);
    writer.finish()
}

#[test]
fn produce_is_understood() {
    let refused = produce::Told::refused(1, Code::OutOfOrderSequence, "a gap");
    let stored = produce::Told {
        index: 0,
        code: Code::None,
        base_offset: 500,
        message: None,
    };
    let topics = [("a".to_owned(), vec![stored, refused])];
    each_version(Api::Produce, |version| {
        let bytes = written(Api::Produce, version, |writer| {
            produce::write(writer, version, &topics);
        });
        let read: ProduceResponse = answer(Api::Produce, version, &bytes);
        assert_eq!(read.responses[0].name.0, text("a"));
        let partitions = &read.responses[0].partition_responses;
        let (stored, refused) = (&partitions[0], &partitions[1]);
        assert_eq!((stored.error_code, stored.base_offset), (0, 500));
        assert_eq!((refused.index, refused.error_code), (1, 45));
        assert_eq!((refused.base_offset, refused.log_append_time_ms), (-1, -1));
        let message = (version >= 8).then(|| text("a gap"));
        assert_eq!(refused.error_message, message);
    });
}

/// The other implementation does not know these.
#[test]
fn produce_of_old_versions_is_answered() {
    let told = produce::Told::refused(7, Code::UnsupportedForMessageFormat, "old");
    let topics = [("a".to_owned(), vec![told])];
    let partition = b"\0\0\0\x01\0\x01a\0\0\0\x01\0\0\0\x07\0\x2b\xff\xff\xff\xff\xff\xff\xff\xff";
    let (time, throttle) = ([0xff; 8], [0; 4]);
    for (version, rest) in [
        (0, vec![]),
        (1, throttle.to_vec()),
        (2, [&time[..], &throttle].concat()),
    ] {
        let bytes = written(Api::Produce, version, |writer| {
            produce::write(writer, version, &topics);
        });
        assert_eq!(bytes[8..], [&partition[..], &rest].concat(), "{version}");
    }
}

#[test]
fn fetch_is_understood() {
    let told = |index, code, batch: &[u8]| fetch::Told {
        index,
        code,
        end: 90,
        start: 10,
        batch: batch.to_vec(),
    };
    let partitions = vec![
        told(4, Code::None, b"a batch"),
        told(5, Code::OffsetOutOfRange, b""),
    ];
    let topics = [("a".to_owned(), partitions)];
    each_version(Api::Fetch, |version| {
        let bytes = written(Api::Fetch, version, |writer| {
            fetch::write(writer, version, &topics);
        });
        let read: FetchResponse = answer(Api::Fetch, version, &bytes);
        assert_eq!((read.error_code, read.session_id), (0, 0));
        let partitions = &read.responses[0].partitions;
        assert_eq!(partitions[0].partition_index, 4);
        assert_eq!(partitions[0].records.as_deref(), Some(&b"a batch"[..]));
        assert_eq!(partitions[0].high_watermark, 90);
        assert_eq!(partitions[0].last_stable_offset, 90);
        assert_eq!(partitions[0].aborted_transactions, None);
        assert_eq!(partitions[1].error_code, 1);
        if version >= 5 {
            assert_eq!(partitions[0].log_start_offset, 10);
        }
    });
}

#[test]
fn list_offsets_is_understood() {
    let told = offsets::Told {
        index: 2,
        code: Code::None,
        timestamp: 1000,
        offset: 33,
    };
    each_version(Api::ListOffsets, |version| {
        let bytes = written(Api::ListOffsets, version, |writer| {
            offsets::write(writer, version, &[("a".to_owned(), vec![told])]);
        });
        let read: ListOffsetsResponse = answer(Api::ListOffsets, version, &bytes);
        let partition = &read.topics[0].partitions[0];
        let found = (
            partition.partition_index,
            partition.timestamp,
            partition.offset,
        );
        assert_eq!(found, (2, 1000, 33));
    });
}

#[test]
fn metadata_is_understood() {
    each_version(Api::Metadata, |version| {
        let topic = |code, name: &str, partitions| metadata::Topic {
            code,
            name: name.to_owned(),
            partitions,
        };
        let topics = vec![
            topic(Code::None, "a", 3),
            topic(Code::UnknownTopicOrPartition, "b", 0),
        ];
        let told = metadata::Answer {
            host: "broker",
            port: 9092,
            cluster: "c",
            topics,
        };
        let bytes = written(Api::Metadata, version, |writer| {
            metadata::write(writer, version, &told);
        });
        let read: MetadataResponse = answer(Api::Metadata, version, &bytes);
        let broker = &read.brokers[0];
        assert_eq!((broker.host.clone(), broker.port), (text("broker"), 9092));
        if version >= 1 {
            assert_eq!(read.controller_id, broker.node_id);
        }
        if version >= 2 {
            assert_eq!(read.cluster_id, Some(text("c")));
        }
        let (a, b) = (&read.topics[0], &read.topics[1]);
        assert_eq!((a.error_code, b.error_code), (0, 3));
        for (partition, index) in a.partitions.iter().zip(0..) {
            assert_eq!(partition.partition_index, index);
            assert_eq!(partition.leader_id, broker.node_id);
            assert_eq!(partition.isr_nodes, [broker.node_id]);
            assert_eq!(partition.replica_nodes, [broker.node_id]);
        }
        assert_eq!((a.partitions.len(), b.partitions.len()), (3, 0));
    });
}

#[test]
fn the_short_answers_are_understood() {
    each_version(Api::InitProducerId, |version| {
        let told = [
            (Ok(5000), (0, 5000, 0)),
            (Err(Code::KafkaStorageError), (56, -1, -1)),
        ];
        for (told, expected) in told {
            let bytes = written(Api::InitProducerId, version, |writer| {
                producer_id::write(writer, told);
            });
            let read: InitProducerIdResponse = answer(Api::InitProducerId, version, &bytes);
            let found = (read.error_code, read.producer_id.0, read.producer_epoch);
            assert_eq!(found, expected);
        }
    });
    each_version(Api::FindCoordinator, |version| {
        let kind = coordinator::Kind::Group;
        let bytes = written(Api::FindCoordinator, version, |writer| {
            coordinator::write(writer, version, kind);
        });
        let read: FindCoordinatorResponse = answer(Api::FindCoordinator, version, &bytes);
        assert_eq!(read.error_code, 30);
        if version >= 1 {
            assert_eq!(read.error_message, Some(text(kind.reason())));
        }
    });
    each_version(Api::Versions, |version| {
        let bytes = written(Api::Versions, version, |writer| {
            versions::write(writer, version);
        });
        let read: ApiVersionsResponse = answer(Api::Versions, version, &bytes);
        assert_eq!(read.api_keys.len(), OFFERED.len());
    });
    let unknown = versions::unknown(head(Api::Versions, 4));
    let read: ApiVersionsResponse = answer(Api::Versions, 0, &unknown);
    assert_eq!((read.error_code, read.api_keys.len()), (35, OFFERED.len()));
    each_version(Api::SaslHandshake, |version| {
        let bytes = written(Api::SaslHandshake, version, |writer| {
            sasl::write_handshake(writer, false);
        });
        let read: SaslHandshakeResponse = answer(Api::SaslHandshake, version, &bytes);
        assert_eq!(
            (read.error_code, read.mechanisms),
            (33, vec![text("PLAIN")])
        );
    });
    each_version(Api::SaslAuthenticate, |version| {
        for (is_known, code) in [(true, 0), (false, 58)] {
            let bytes = written(Api::SaslAuthenticate, version, |writer| {
                sasl::write_authenticate(writer, version, is_known);
            });
            let read: SaslAuthenticateResponse = answer(Api::SaslAuthenticate, version, &bytes);
            assert_eq!(read.error_code, code);
            assert_eq!(read.error_message.is_some(), !is_known);
        }
    });
}
