"""confluent-kafka: librdkafka for Python."""

import logging
import re
import time

import confluent_kafka as ck

from access import librdkafka
from common import SOON, ClientError, Late, Log, Read, Reader, check, until

# Without any of them nothing goes on.
ENTRY = (ck.KafkaError._AUTHENTICATION, ck.KafkaError._SSL, ck.KafkaError._ALL_BROKERS_DOWN)
RESETS = {"earliest": "earliest", "latest": "latest", "error": "error"}


def base(address, **more):
    given = {
        "bootstrap.servers": address, "broker.address.family": "v4",
        "reconnect.backoff.ms": 50, "reconnect.backoff.max.ms": 500, **librdkafka(address),
    }
    return given | {name.replace("_", "."): value for name, value in more.items()}


def failure(error):
    fatal = "fatal " if error.fatal() else ""
    return ClientError(f"{fatal}{error.name()}: {error.str()}")


def logger_to(log):
    logger = logging.Logger("librdkafka", logging.DEBUG)
    logger.addHandler(log)
    return logger


class ConfluentReader(Reader):
    def __init__(self, address, topic, start, reset, partition, **more):
        super().__init__()
        self.consumer = ck.Consumer(base(address, **{
            "group.id": "none", "enable.auto.commit": False, "enable.partition.eof": True,
            "auto.offset.reset": RESETS[reset], "fetch.wait.max.ms": 100, **more,
        }))
        self.events = []
        if isinstance(start, tuple):
            asked = [ck.TopicPartition(topic, partition, start[1])]
            start = self.consumer.offsets_for_times(asked, SOON)[0].offset
        offset = {"beginning": ck.OFFSET_BEGINNING, "end": ck.OFFSET_END}.get(start, start)
        self.consumer.assign([ck.TopicPartition(topic, partition, offset)])
        self.eof = False

    def poll(self, seconds):
        read = []
        first = self.consumer.poll(seconds)
        for message in [first, *self.consumer.consume(500, 0)] if first else []:
            error = message.error()
            if error is None:
                self.eof = False
                at = message.timestamp()[1]
                read.append(Read(message.offset(), at, message.key(), message.value(), message.headers() or []))
            elif error.code() == ck.KafkaError._PARTITION_EOF:
                self.eof = True
            elif error.code() == ck.KafkaError.GROUP_AUTHORIZATION_FAILED:
                # Told once to each consumer that names a group, as this client wants; reading goes on.
                self.events.append(error.str())
            else:
                raise failure(error)
        return read

    def at_end(self):
        return self.eof

    def close(self):
        self.consumer.close()


class Confluent:
    name = "confluent"
    # The errors have it all.
    logger = None
    acks = ("0", "1", "all")
    codecs = ("none", "gzip", "snappy", "lz4", "zstd")
    sets_timestamps = True
    null_headers = True
    sends_nothing = True
    goes_on = True
    pipelines = True

    def sent(self, records):
        return records

    def produce(
        self, address, topic, records, acks="all", idempotent=False, codec="none", partition=0, batch=1000, linger=20,
    ):
        """Returns the codecs that batches had."""
        log, failed, refused = Log(logging.DEBUG), [], []
        producer = ck.Producer(base(
            address, acks=acks, enable_idempotence=idempotent, compression_type=codec, linger_ms=linger, debug="msg",
            batch_num_messages=batch, message_timeout_ms=SOON * 1000,
        ) | {"error_cb": lambda error: refused.append(error) if error.code() in ENTRY else None}, logger=logger_to(log))
        for record in records:
            producer.produce(
                topic, record.value, record.key, headers=list(record.headers), timestamp=record.timestamp or 0,
                on_delivery=lambda error, _: failed.append(error) if error else None,
                **({} if partition is None else {"partition": partition}),
            )
        until(lambda: producer.flush(0.1) == 0 or refused, SOON, "all records are acknowledged")
        if refused:
            said = [line for line in log.lines if line.startswith("FAIL")]
            raise ClientError(f"{refused[0].name()}: {refused[0].str()} {' '.join(said[:1])}")
        if failed:
            raise failure(failed[0])
        seen = re.findall(r"Produce MessageSet with .*, (\w+)\)", "\n".join(log.lines))
        return {"none" if codec == "uncompressed" else codec for codec in seen}

    def numbers(self, address, topic, records, idempotent, acked, batch=100):
        failed = []
        producer = ck.Producer(base(
            address, acks="all", enable_idempotence=idempotent, linger_ms=5, batch_num_messages=batch,
            max_in_flight=5, message_timeout_ms=120_000, retries=10_000, retry_backoff_ms=50,
        ))
        out = 0

        def delivered(number):
            def tell(error, message):
                nonlocal out
                out -= 1
                failed.append(error) if error else acked(number, message.offset())
            return tell

        for number, record in enumerate(records):
            while out >= 2000:
                producer.poll(0.1)
            out += 1
            producer.produce(topic, record.value, partition=0, on_delivery=delivered(number))
            producer.poll(0)
        producer.flush(120)
        if failed:
            raise failure(failed[0])

    def reader(self, address, topic, start="beginning", reset="error", partition=0, **more):
        return ConfluentReader(address, topic, start, reset, partition, **more)

    def _ask(self, address, ask):
        consumer = ck.Consumer(base(address, group_id="none"))
        try:
            return ask(consumer)
        finally:
            consumer.close()

    def offset_at(self, address, topic, ms, partition=0):
        asked = [ck.TopicPartition(topic, partition, ms)]
        (found,) = self._ask(address, lambda consumer: consumer.offsets_for_times(asked, SOON))
        if found.error:
            raise failure(found.error)
        return None if found.offset < 0 else found.offset

    def bounds(self, address, topic, partition=0):
        asked = ck.TopicPartition(topic, partition)
        return self._ask(address, lambda consumer: consumer.get_watermark_offsets(asked, SOON))

    def partitions(self, address, topic):
        found = self._ask(address, lambda consumer: consumer.list_topics(topic, SOON)).topics[topic]
        if found.error:
            raise failure(found.error)
        return len(found.partitions)

    def group(self, address, topic):
        def ask(consumer):
            consumer.subscribe([topic])
            message = consumer.poll(SOON)
            if message is None:
                raise Late(f"nothing within {SOON} s")
            if message.error():
                raise failure(message.error())
            return message.value()
        return self._ask(address, ask)

    def transaction(self, address, topic):
        producer = ck.Producer(base(address, transactional_id="one"), logger=logger_to(Log()))
        try:
            producer.init_transactions(SOON)
        except ck.KafkaException as error:
            raise failure(error.args[0]) from None

    def send_each(self, address, topic, values, idempotent=False):
        outcomes = []
        producer = ck.Producer(base(
            address, acks="all", enable_idempotence=idempotent, message_max_bytes=64 << 20, linger_ms=0,
            topic_metadata_propagation_max_ms=0, message_timeout_ms=SOON * 1000,
        ))
        for value in values:
            producer.produce(
                topic, value, partition=0,
                on_delivery=lambda error, _: outcomes.append(error and f"{error.name()}: {error.str()}"),
            )
            end = time.monotonic() + SOON
            producer.flush(max(0, end - time.monotonic()))
        check(len(outcomes) == len(values), f"{len(outcomes)} of {len(values)} records have an outcome")
        return outcomes
