"""Every kind of record, by every way to send it; each of the clients that can reads back exactly that."""

from clients import READERS
from common import Record, check, check_equal, now_ms, same, test
from server import Server

# Long ago, so that no client's own time is taken for it.
LONG_AGO = 1_600_000_000_000

WHY_NOT = "librdkafka compresses only where ApiVersions offer Produce from version 0 on, and FindCoordinator"


def kinds(client):
    """Records of all kinds that the client can send."""
    named = [("a", b"1"), ("b", b"2"), ("a", b"3")]
    odd = [("empty", b""), ("gr\u00fc\u00df", "\u00e4".encode()), ("bytes", b"\xff\xfe\x01")]
    if client.null_headers:
        odd.insert(1, ("null", None))
    records = [
        Record(b"key", b"value"),
        Record(None, b"no key"),
        Record(b"gone", None),
        Record(b"", b""),
        *([Record(None, None)] if client.sends_nothing else []),
        Record(b"headers", b"of one name", named),
        Record(b"headers", b"without a value", odd),
        Record(bytes(range(256)), bytes(range(255, -1, -1))),
        Record(b"long", b"x" * 100_000),
    ]
    records += [Record(b"key %d" % n, b"a text that comes again and again, %d" % n) for n in range(50)]
    # One of them goes back in time.
    times = [LONG_AGO + 1000 * n - (5000 if n == 20 else 0) for n in range(len(records))]
    return client.sent([record._replace(timestamp=at) for record, at in zip(records, times)])


def ways(client):
    for acks in client.acks:
        yield acks, False, "none"
    for codec in client.codecs:
        yield "all", True, codec


def run(client):
    every = list(ways(client))
    names = [f"acks-{acks}{'-idempotent' if idempotent else ''}-{codec}" for acks, idempotent, codec in every]
    with Server(topics=[f"{name}:1" for name in names]) as server:
        for topic, (acks, idempotent, codec) in zip(names, every):
            way = topic.replace("-", " ")
            sent = []
            with test(f"{way}: sent"):
                before = now_ms()
                seen = client.produce(
                    server.address, topic, kinds(client), acks=acks, idempotent=idempotent, codec=codec,
                )
                sent = kinds(client)
                check(seen is None or codec in seen, f"batches were sent as {seen}: {WHY_NOT}")
            for reader in READERS if sent else []:
                with test(f"{way}: read by {reader.name}"):
                    with reader.reader(server.address, topic) as open_reader:
                        same(open_reader.take(len(sent)), sent, before, now_ms())
                        open_reader.ends_here()
        with test("the server ends when it is asked to"):
            server.stop()
        # What is durable is there for the next server too.
        server.start()
        with test("all is there after that"):
            for topic in names:
                check_equal(READERS[1].bounds(server.address, topic), (0, len(kinds(client))), f"bounds of {topic}")
