"""aiokafka: its loop runs in a thread of its own, so that it looks like the others."""

import asyncio
import ssl
import threading

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from access import access_of, python_settings
from common import SOON, ClientError, Late, Read, Reader

RESETS = {"earliest": "earliest", "latest": "latest", "error": "none"}
ACKS = {"0": 0, "1": 1, "all": "all"}


def failure(error):
    return ClientError(f"{type(error).__name__}: {error}")


def base(address, **more):
    given = {"bootstrap_servers": address, **python_settings(address)}
    authority = access_of(address).authority
    if authority:
        given["ssl_context"] = ssl.create_default_context(cafile=authority)
    return given | more


class Loop:
    def __init__(self):
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def run(self, coroutine, seconds=SOON):
        async def bounded():
            return await asyncio.wait_for(coroutine, seconds)

        try:
            return asyncio.run_coroutine_threadsafe(bounded(), self.loop).result()
        except asyncio.TimeoutError:
            raise Late(f"nothing within {seconds} s") from None
        except KafkaError as error:
            raise failure(error) from error


LOOP = Loop()


class AiokafkaReader(Reader):
    def __init__(self, address, topic, start, reset, partition):
        super().__init__()
        self.place = TopicPartition(topic, partition)
        self.consumer = LOOP.run(self._open(address, start, reset))

    async def _open(self, address, start, reset):
        consumer = AIOKafkaConsumer(**base(
            address, group_id=None, enable_auto_commit=False, auto_offset_reset=RESETS[reset], fetch_max_wait_ms=100,
            retry_backoff_ms=50,
        ))
        await consumer.start()
        consumer.assign([self.place])
        if isinstance(start, tuple):
            found = await consumer.offsets_for_times({self.place: start[1]})
            start = found[self.place].offset
        if start == "beginning":
            await consumer.seek_to_beginning(self.place)
        elif start == "end":
            await consumer.seek_to_end(self.place)
        else:
            consumer.seek(self.place, start)
        return consumer

    def poll(self, seconds):
        found = LOOP.run(self.consumer.getmany(timeout_ms=int(seconds * 1000)))
        return [
            Read(r.offset, r.timestamp, r.key, r.value, list(r.headers)) for rows in found.values() for r in rows
        ]

    def at_end(self):
        async def ask():
            end = (await self.consumer.end_offsets([self.place]))[self.place]
            return await self.consumer.position(self.place) == end
        return LOOP.run(ask())

    def close(self):
        LOOP.run(self.consumer.stop())


class Aiokafka:
    name = "aiokafka"
    logger = "aiokafka"
    acks = ("0", "1", "all")
    codecs = ("none", "gzip", "snappy", "lz4", "zstd")
    sets_timestamps = True
    null_headers = True
    sends_nothing = False
    goes_on = False
    pipelines = False

    def sent(self, records):
        return records

    async def _producer(self, address, **more):
        producer = AIOKafkaProducer(**base(address, retry_backoff_ms=50, **more))
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        return producer

    def produce(
        self, address, topic, records, acks="all", idempotent=False, codec="none", partition=0, batch=8000, linger=20,
    ):
        async def run():
            producer = await self._producer(
                address, acks=ACKS[acks], enable_idempotence=idempotent, linger_ms=linger, max_batch_size=batch * 130,
                compression_type=None if codec == "none" else codec,
            )
            try:
                sent = [
                    await producer.send(
                        topic, r.value, key=r.key, headers=list(r.headers), partition=partition,
                        timestamp_ms=r.timestamp,
                    )
                    for r in records
                ]
                await producer.flush()
                await asyncio.gather(*sent)
            finally:
                await producer.stop()
        LOOP.run(run())

    def numbers(self, address, topic, records, idempotent, acked, batch=100):
        async def run():
            producer = await self._producer(
                address, acks="all", enable_idempotence=idempotent, linger_ms=5, max_batch_size=batch * 120,
                request_timeout_ms=60_000,
            )
            window, failed = asyncio.Semaphore(2000), []

            def told(number):
                def tell(future):
                    window.release()
                    if future.exception():
                        failed.append(future.exception())
                    else:
                        acked(number, future.result().offset)
                return tell

            try:
                for number, record in enumerate(records):
                    await window.acquire()
                    if failed:
                        break
                    (await producer.send(topic, record.value, partition=0)).add_done_callback(told(number))
                await producer.flush()
            finally:
                await producer.stop()
            if failed:
                raise failed[0]
        LOOP.run(run(), 120)

    def reader(self, address, topic, start="beginning", reset="error", partition=0):
        return AiokafkaReader(address, topic, start, reset, partition)

    def _ask(self, address, ask):
        async def run():
            consumer = AIOKafkaConsumer(**base(address, group_id=None))
            await consumer.start()
            try:
                return await ask(consumer)
            finally:
                await consumer.stop()
        return LOOP.run(run())

    def offset_at(self, address, topic, ms, partition=0):
        place = TopicPartition(topic, partition)

        async def ask(consumer):
            found = (await consumer.offsets_for_times({place: ms}))[place]
            return None if found is None else found.offset
        return self._ask(address, ask)

    def bounds(self, address, topic, partition=0):
        place = TopicPartition(topic, partition)

        async def ask(consumer):
            first = (await consumer.beginning_offsets([place]))[place]
            return first, (await consumer.end_offsets([place]))[place]
        return self._ask(address, ask)

    def partitions(self, address, topic):
        async def run():
            producer = await self._producer(address)
            try:
                return len(await producer.partitions_for(topic))
            finally:
                await producer.stop()
        return LOOP.run(run())

    def group(self, address, topic):
        async def run():
            consumer = AIOKafkaConsumer(topic, **base(address, group_id="group"))
            try:
                await consumer.start()
                return await consumer.getone()
            finally:
                await consumer.stop()
        return LOOP.run(run())

    def transaction(self, address, topic):
        LOOP.run(self._producer(address, transactional_id="one"))

    def send_each(self, address, topic, values, idempotent=False):
        async def run():
            producer = await self._producer(
                address, acks="all", enable_idempotence=idempotent, max_request_size=64 << 20,
                max_batch_size=64 << 20, request_timeout_ms=5000,
            )
            outcomes = []
            try:
                for value in values:
                    try:
                        await producer.send_and_wait(topic, value, partition=0)
                        outcomes.append(None)
                    except KafkaError as error:
                        outcomes.append(f"{type(error).__name__}: {error}")
            finally:
                await producer.stop()
            return outcomes
        return LOOP.run(run())
