"""Topics that are there, that are not, and that are made; topics of several partitions."""

import re
from collections import defaultdict

from clients import CONFLUENT
from common import Record, check, check_equal, now_ms, refused, same, say, test
from server import Server

UNKNOWN = r"(?i)unknown.?topic|does not host this topic|KafkaTimeoutError"


def unknown(client):
    with Server(topics=["known:1"]) as server:
        with test("a topic that is not there"):
            (outcome,) = client.send_each(server.address, "missing", [b"x"])
            check(outcome and re.search(UNKNOWN, outcome), f"the outcome is {outcome!r}")
            say("note", f"unknown topic: {outcome}")
        with test("and is not made by the question"):
            (outcome,) = client.send_each(server.address, "missing", [b"x"])
            check(outcome, "the second record is taken")
            check_equal(client.send_each(server.address, "known", [b"x"]), [None], "a topic that is there")


def made(client):
    with Server("--kafka-create") as server:
        with test("a topic that is made"):
            check_equal(client.send_each(server.address, "fresh", [b"x", b"y"]), [None, None], "outcomes")
            reads = client if client.reader else CONFLUENT
            with reads.reader(server.address, "fresh") as reader:
                check_equal([one.value for one in reader.take(2)], [b"x", b"y"], "values")
            check_equal(client.partitions(server.address, "fresh"), 1, "partitions")
        if client is CONFLUENT:
            with test("a consumer's question does not make a topic"):
                # This client says in the question that it does not want that.
                for _ in range(2):
                    refused(lambda: client.partitions(server.address, "missing"), UNKNOWN, "the topic")


def several(client):
    records = client.sent([Record(b"key %d" % (n % 50), b"%d" % n, (), None) for n in range(400)])
    with Server(topics=["spread:4", "other:2"]) as server:
        with test("partitions of a topic"):
            check_equal(client.partitions(server.address, "spread"), 4, "partitions")
        with test("records go where their keys belong, and all come back"):
            began = now_ms()
            client.produce(server.address, "spread", records, idempotent=True, partition=None)
            found = all_of(client, server, records)
            whose = {key: {p for p in found if any(one.key == key for one in found[p])} for key in
                     {record.key for record in records}}
            check(all(len(places) == 1 for places in whose.values()), f"a key is in several partitions: {whose}")
            check(all(found[p] for p in range(4)), "a partition has no record")
            for part, read in found.items():
                mine = {one.key for one in read}
                same(read, [record for record in records if record.key in mine], began, now_ms())
        with test("partitions after a restart"):
            server.kill()
            server.start()
            check_equal(client.partitions(server.address, "spread"), 4, "partitions")
            check_equal(sum(map(len, all_of(client, server, records).values())), 400, "records")


def all_of(client, server, records):
    """What is in each of the four partitions."""
    reads = client if client.reader else CONFLUENT
    found = defaultdict(list)
    for part in range(4):
        _, end = reads.bounds(server.address, "spread", part)
        with reads.reader(server.address, "spread", partition=part) as reader:
            found[part] = reader.take(end)
            reader.ends_here()
    check_equal(sum(map(len, found.values())), len(records), "records in all partitions")
    return found


def run(client):
    for part in (unknown, made, several):
        with test(f"all of `{part.__name__}`"):
            part(client)
