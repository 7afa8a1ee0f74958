"""kafka-python, which is Python alone."""

import threading

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError

from access import access_of, python_settings
from common import SOON, ClientError, Late, Read, Reader

RESETS = {"earliest": "earliest", "latest": "latest", "error": "none"}
ACKS = {"0": 0, "1": 1, "all": "all"}


def failure(error):
    return ClientError(f"{type(error).__name__}: {error}")


def base(address, **more):
    given = {
        "bootstrap_servers": address, "reconnect_backoff_ms": 50, "reconnect_backoff_max_ms": 500,
        "bootstrap_timeout_ms": 4000, **python_settings(address),
    }
    authority = access_of(address).authority
    if authority:
        given["ssl_cafile"] = authority
    return given | more


class KafkaPythonReader(Reader):
    def __init__(self, address, topic, start, reset, partition):
        super().__init__()
        self.consumer = KafkaConsumer(**base(
            address, auto_offset_reset=RESETS[reset], group_id=None, enable_auto_commit=False, fetch_max_wait_ms=100,
        ))
        self.place = place = TopicPartition(topic, partition)
        self.consumer.assign([place])
        if isinstance(start, tuple):
            start = self.consumer.offsets_for_times({place: start[1]})[place].offset
        if start == "beginning":
            self.consumer.seek_to_beginning(place)
        elif start == "end":
            self.consumer.seek_to_end(place)
        else:
            self.consumer.seek(place, start)

    def poll(self, seconds):
        try:
            found = self.consumer.poll(timeout_ms=int(seconds * 1000))
        except KafkaError as error:
            raise failure(error) from error
        return [
            Read(r.offset, r.timestamp, r.key, r.value, list(r.headers)) for rows in found.values() for r in rows
        ]

    def at_end(self):
        end = self.consumer.end_offsets([self.place])[self.place]
        return self.consumer.position(self.place) == end

    def close(self):
        self.consumer.close()


class KafkaPython:
    name = "kafka-python"
    logger = "kafka"
    acks = ("0", "1", "all")
    codecs = ("none", "gzip", "snappy", "lz4", "zstd")
    sets_timestamps = True
    null_headers = False
    sends_nothing = False
    goes_on = False
    pipelines = False

    def sent(self, records):
        return records

    def _producer(self, address, **more):
        try:
            return KafkaProducer(**base(address, **more))
        except KafkaError as error:
            raise failure(error) from error

    def produce(
        self, address, topic, records, acks="all", idempotent=False, codec="none", partition=0, batch=8000, linger=20,
    ):
        producer = self._producer(
            address, acks=ACKS[acks], enable_idempotence=idempotent, linger_ms=linger, batch_size=batch * 130,
            compression_type=None if codec == "none" else codec,
        )
        try:
            sent = [
                producer.send(
                    topic, r.value, key=r.key, headers=list(r.headers), partition=partition, timestamp_ms=r.timestamp,
                )
                for r in records
            ]
            producer.flush(SOON)
            for one in sent:
                one.get(SOON)
        except KafkaError as error:
            raise failure(error) from error
        finally:
            producer.close(SOON)

    def numbers(self, address, topic, records, idempotent, acked, batch=100):
        producer = self._producer(
            address, acks="all", enable_idempotence=idempotent, linger_ms=5, batch_size=batch * 120,
            max_in_flight_requests_per_connection=5, retry_backoff_ms=50,
        )
        window, failed = threading.Semaphore(2000), []

        def told(number):
            def tell(metadata):
                acked(number, metadata.offset)
                window.release()
            return tell

        def not_told(error):
            failed.append(error)
            window.release()

        try:
            for number, record in enumerate(records):
                if not window.acquire(timeout=60):
                    raise Late(f"no acknowledgement for 60 s, at record {number}")
                if failed:
                    break
                producer.send(topic, record.value, partition=0).add_callback(told(number)).add_errback(not_told)
            producer.flush(60)
        except KafkaError as error:
            raise failure(error) from error
        finally:
            producer.close(5)
        if failed:
            raise failure(failed[0])

    def reader(self, address, topic, start="beginning", reset="error", partition=0):
        return KafkaPythonReader(address, topic, start, reset, partition)

    def _ask(self, address, ask, **more):
        consumer = KafkaConsumer(**base(address, **{"group_id": None, **more}))
        try:
            return ask(consumer)
        except KafkaError as error:
            raise failure(error) from error
        finally:
            consumer.close()

    def offset_at(self, address, topic, ms, partition=0):
        place = TopicPartition(topic, partition)
        found = self._ask(address, lambda consumer: consumer.offsets_for_times({place: ms})[place])
        return None if found is None else found.offset

    def bounds(self, address, topic, partition=0):
        place = TopicPartition(topic, partition)

        def ask(consumer):
            return consumer.beginning_offsets([place])[place], consumer.end_offsets([place])[place]
        return self._ask(address, ask)

    def partitions(self, address, topic):
        return len(self._ask(address, lambda consumer: consumer.partitions_for_topic(topic)))

    def group(self, address, topic):
        def ask(consumer):
            consumer.subscribe([topic])
            return consumer.poll(timeout_ms=SOON * 1000)
        return self._ask(address, ask, group_id="group")

    def transaction(self, address, topic):
        producer = self._producer(address, transactional_id="one")
        try:
            producer.init_transactions()
        except KafkaError as error:
            raise failure(error) from error
        finally:
            producer.close(1)

    def send_each(self, address, topic, values, idempotent=False):
        producer = self._producer(
            address, acks="all", enable_idempotence=idempotent, max_request_size=64 << 20, max_block_ms=3000,
        )
        outcomes = []
        try:
            for value in values:
                try:
                    producer.send(topic, value, partition=0).get(SOON)
                    outcomes.append(None)
                except KafkaError as error:
                    outcomes.append(f"{type(error).__name__}: {error}")
        finally:
            producer.close(5)
        return outcomes
