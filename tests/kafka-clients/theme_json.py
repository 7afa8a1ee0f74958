"""A stream of JSON messages is a topic: what clients produce is read over HTTP, and what is sent over HTTP, by them."""

import re

from clients import AIOKAFKA, CONFLUENT, KAFKA_PYTHON, KAFKAJS, KCAT
from common import ClientError, Record, check, check_equal, heard, now_ms, refused, same, say, test
from server import Server
from streams import JSON, TEXT, array, get, post, put

# Texts that a program which reads and writes them anew would change.
VALUES = [
    b'{"b": 1,  "a": [1.50, -0, 1e400], "b": 2}',
    b"12345678901234567890.10",
    b'"\\u00e4 \xc3\xa4 \\/ \xf0\x9f\x8d\xb5"',
    b'{\n\t"text": "of\\n lines"\n}',
    b"[[1, 2], []]",
    b"null",
    b"true",
    b'""',
    *[b'{"number": %d}' % n for n in range(50)],
]
INVALID = {
    KCAT: r"failed to validate record",
    CONFLUENT: r"^INVALID_RECORD",
    # This one passes on the server's sentence.
    KAFKA_PYTHON: r"Error 87\b.*JSON",
    # And this one does not know the error 87.
    AIOKAFKA: r"^UnknownError: \[Error -1\]",
    KAFKAJS: r"INVALID_RECORD",
}
NO_TOPIC = {
    KCAT: r"Invalid topic",
    CONFLUENT: r"^TOPIC_EXCEPTION",
    KAFKA_PYTHON: r"Error 17\b",
    # Its log tells why.
    AIOKAFKA: r"not a valid topic name",
    KAFKAJS: r"(?i)invalid.topic",
}


def records(values):
    return [Record(None, value) for value in values]


def produced(client, server):
    put(server, "produced", JSON)
    with test("values are read over HTTP as they were sent"):
        client.produce(server.address, "produced", records(VALUES), idempotent=True)
        check_equal(get(server, "produced"), array(VALUES), "the stream")
        check_equal(client.partitions(server.address, "produced"), 1, "partitions")


def posted(client, server):
    put(server, "posted", JSON)
    with test("messages of HTTP and of a client, in one order, as values without a key"):
        began = now_ms()
        # Of a body the elements are the messages; an array in it is one.
        post(server, "posted", array(VALUES))
        client.produce(server.address, "posted", records([b"1", b"[2]"]))
        post(server, "posted", b' {"one": "message"} \n')
        values = [*VALUES, b"1", b"[2]", b'{"one": "message"}']
        reads = client if client.reader else CONFLUENT
        with reads.reader(server.address, "posted") as reader:
            same(reader.take(len(values)), records(values), began, now_ms())
            reader.ends_here()
        check_equal(get(server, "posted"), array(values), "the stream")


def refusals(client, server):
    put(server, "strict", JSON)
    good, more = records([b"1"]), records([b"3", b"4"])
    client.produce(server.address, "strict", good)
    # All three records have to be in one batch: kafkajs makes one for each call.
    together = {} if client is KAFKAJS else {"linger": 500}
    for what, bad in [("a key", Record(b"key", b"2")), ("a value that is no JSON", Record(None, b'{"a": }'))]:
        for idempotent in (False, True):
            with test(f"{what}{', idempotent' if idempotent else ''}: nothing of the batch is stored"):
                def send():
                    batch = [more[0], bad, more[1]]
                    client.produce(server.address, "strict", batch, idempotent=idempotent, **together)

                say("note", f"{what}: {refused(send, INVALID[client], what)[:200]}")
                check_equal(get(server, "strict"), b"[1]", "the stream")
    with test("headers"):
        with_header = [Record(None, b"2", [("name", b"value")])]
        refused(lambda: client.produce(server.address, "strict", with_header), INVALID[client], "a header")
        check_equal(get(server, "strict"), b"[1]", "the stream")
    for idempotent in (False, True) if client.goes_on else (False,):
        with test(f"a producer goes on after it{', idempotent' if idempotent else ''}"):
            topic = f"on-{idempotent}"
            put(server, topic, JSON)
            outcomes = client.send_each(server.address, topic, [b"1", b"no JSON", b"2"], idempotent=idempotent)
            check_equal([bool(one) for one in outcomes], [False, True, False], "refused")
            check(re.search(INVALID[client], outcomes[1]), f"the outcome is {outcomes[1]!r}")
            check_equal(get(server, topic), b"[1,2]", "the stream")


def text(client, server):
    put(server, "text", TEXT)
    with test("a stream of text is no topic"):
        def send():
            with heard(client.logger):
                (outcome,) = client.send_each(server.address, "text", [b"1"])
                if outcome:
                    raise ClientError(outcome)

        say("note", f"text: {refused(send, NO_TOPIC[client], 'a stream of text')}")
        check_equal(get(server, "text"), b"", "the stream")


def run(client):
    with Server() as server:
        for part in (produced, posted, refusals, text):
            with test(f"all of `{part.__name__}`"):
                part(client, server)
