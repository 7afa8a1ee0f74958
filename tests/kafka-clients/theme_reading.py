"""Where reading begins, where it ends, and what comes while it goes on."""

import re
import threading

from clients import AIOKAFKA, CONFLUENT, KAFKA_PYTHON, KAFKAJS, KCAT
from common import SOON, Broken, ClientError, Record, check, check_equal, later_ms, now_ms, numbered, same, test
from server import Server

# Whose records a client reads while they come.
OTHER = {KCAT: KAFKAJS, CONFLUENT: KCAT, KAFKA_PYTHON: AIOKAFKA, AIOKAFKA: KAFKA_PYTHON}
FAR = 1_000_000


def fill(server, topic, records, batch=40):
    """Batches of exactly so many records: kafkajs sends one for each call."""
    KAFKAJS.produce(server.address, topic, records, batch=batch, idempotent=True, codec="gzip")


def read(client, server, topic, start, count, **more):
    with client.reader(server.address, topic, start=start, **more) as reader:
        taken = reader.take(count)
        reader.ends_here()
        return taken


def places(client, server):
    began, records = now_ms(), numbered(120)
    fill(server, "places", records)
    with test("the beginning"):
        same(read(client, server, "places", "beginning", 120), records, began, now_ms())
    with test("the first and the next offset"):
        check_equal(tuple(client.bounds(server.address, "places")), (0, 120), "bounds")
    for start in (1, 39, 40, 57, 119):
        with test(f"offset {start} of batches of 40"):
            taken = read(client, server, "places", start, 120 - start)
            same(taken, records[start:], began, now_ms(), first=start)
    with test("the end"):
        with client.reader(server.address, "places", start="end") as reader:
            reader.ends_here()
            CONFLUENT.produce(server.address, "places", [Record(None, b"next")])
            (taken,) = reader.take(1)
            check_equal((taken.offset, taken.value), (120, b"next"), "what comes")
    with test("a topic without records"):
        check_equal(tuple(client.bounds(server.address, "nothing")), (0, 0), "bounds")
        check_equal(client.offset_at(server.address, "nothing", now_ms() - 1000), None, "offset of a time")
        read(client, server, "nothing", "beginning", 0)


def times(client, server):
    between = []
    for start in (0, 40, 80):
        fill(server, "times", numbered(40, start))
        between.append(later_ms())
    for name, at, wanted in [
        ("before all", 1_000_000_000_000, 0),
        ("after the first 40", between[0], 40),
        ("after the first 80", between[1], 80),
        ("after all", between[2], None),
        ("far ahead", between[2] + 3_600_000, None),
    ]:
        with test(f"offset of the time {name}"):
            check_equal(client.offset_at(server.address, "times", at), wanted, "offset")
    with test("from a time on"):
        taken = read(client, server, "times", ("time", between[0]), 80)
        check_equal([one.offset for one in taken], list(range(40, 120)), "offsets")


def live(client, server):
    other = OTHER[client]
    with test(f"while {other.name} produces"):
        began, records = now_ms(), numbered(1000)
        other.produce(server.address, "live", records[:10])
        with client.reader(server.address, "live") as reader:
            taken = reader.take(10)
            reader.ends_here()
            failed = []

            def produce():
                try:
                    other.produce(server.address, "live", records[10:], batch=20, idempotent=True)
                except Exception as error:  # noqa: BLE001
                    failed.append(error)

            producing = threading.Thread(target=produce, daemon=True)
            producing.start()
            taken += reader.take(990)
            reader.ends_here()
            producing.join(SOON)
            check(not failed, f"{other.name}: {failed}")
            same(taken, records, began, now_ms())


def out_of_range(client, server):
    fill(server, "range", numbered(40))
    with test("an offset out of range, as `earliest`"):
        taken = read(client, server, "range", FAR, 40, reset="earliest")
        check_equal([one.offset for one in taken], list(range(40)), "offsets")
    with test("an offset out of range, as `latest`"):
        with client.reader(server.address, "range", start=FAR, reset="latest") as reader:
            reader.ends_here()
            CONFLUENT.produce(server.address, "range", [Record(None, b"next")])
            (taken,) = reader.take(1)
            check_equal((taken.offset, taken.value), (40, b"next"), "what comes")
    with test("an offset out of range, as an error"):
        try:
            read(client, server, "range", FAR, 1, reset="error")
        except ClientError as error:
            check(re.search(r"(?i)out.?of.?range", str(error)), f"{error} names another reason")
        else:
            raise Broken("something came")


def large(client, server):
    with test("more than one answer holds, and a record larger than the client asks for"):
        began = now_ms()
        records = numbered(3000, size=1000) + [Record(None, b"l" * 3_000_000)] + numbered(200, size=1000)
        fill(server, "large", records, batch=200)
        same(read(client, server, "large", "beginning", len(records)), records, began, now_ms())


def run(client):
    topics = ["places", "nothing", "times", "live", "range", "large"]
    with Server(topics=[f"{topic}:1" for topic in topics]) as server:
        for part in (places, times, live, out_of_range, large):
            with test(f"all of `{part.__name__}`"):
                part(client, server)
