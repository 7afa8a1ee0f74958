"""Servers that serve only those who know a token, with and without encryption, and one that encrypts alone."""

from access import Address, Files
from bare import REQUESTS, Bare
from clients import AIOKAFKA, CONFLUENT, KAFKA_PYTHON, KAFKAJS, KCAT
from common import Record, check, check_equal, heard, now_ms, numbered, refused, same, say, test
from server import Server

LOGIN, OTHER = ("till", "a-secret-of-16-bytes"), ("web", "another-secret-of-theirs")
# The secret of the other one.
WRONG = (LOGIN[0], OTHER[1])

AUTHENTICATION = {
    KCAT: r"SASL authentication error: the name or the secret of the token is wrong",
    CONFLUENT: r"^_AUTHENTICATION: .*the name or the secret of the token is wrong",
    # What comes together with the end of the connection this client does not look at.
    KAFKA_PYTHON: r"SaslAuthenticationFailed|Unable to bootstrap.*socket disconnected",
    AIOKAFKA: r"SaslAuthenticationFailed: the name or the secret of the token is wrong",
    KAFKAJS: r"SASLAuthenticationError.*the name or the secret of the token is wrong",
}
# The server ends the connection. Clients take it for one that cannot be reached; some guess why.
ENDED = {
    KCAT: r"might require SASL|connecting to a SSL listener",
    CONFLUENT: r"^_ALL_BROKERS_DOWN: .*Disconnected: ",
    KAFKA_PYTHON: r"Unable to bootstrap.*disconnected",
    AIOKAFKA: r"KafkaConnectionError.*closed",
    KAFKAJS: r"Closed connection",
}
CERTIFICATE = {
    KCAT: r"certificate verify failed",
    CONFLUENT: r"certificate verify failed",
    KAFKA_PYTHON: r"CERTIFICATE_VERIFY_FAILED",
    AIOKAFKA: r"CERTIFICATE_VERIFY_FAILED",
    KAFKAJS: r"unable to verify the first certificate",
}


def served(client, address, before):
    """Produces and, where the client can, reads."""
    began, records = now_ms(), client.sent([Record(b"key %d" % n, b"%d" % n) for n in range(100)])
    client.produce(address, "topic", records, idempotent=True)
    reads = client if client.reader else CONFLUENT
    check_equal(tuple(reads.bounds(address, "topic")), (0, before + 100), "bounds")
    with reads.reader(address, "topic", start=before) as reader:
        same(reader.take(100), records, began, now_ms(), first=before)
        reader.ends_here()


def not_served(client, address, pattern, what):
    def knock():
        with heard(client.logger):
            client.produce(address, "topic", numbered(3))

    say("note", f"{what}: {refused(knock, pattern, what)[:200]}")


def untouched(address, count):
    check_equal(tuple(CONFLUENT.bounds(address, "topic")), (0, count), "bounds")


def tokens(client, files):
    with Server("--tokens", files.tokens, topics=["topic:1"]) as server:
        known = Address.of(server.address, login=LOGIN)
        with test("SASL_PLAINTEXT: a secret that is known"):
            served(client, known, 0)
        with test("SASL_PLAINTEXT: the secret of another name"):
            not_served(client, Address.of(server.address, login=WRONG), AUTHENTICATION[client], "a wrong secret")
        with test("SASL_PLAINTEXT: a client without SASL"):
            not_served(client, server.address, ENDED[client], "no SASL")
        with test("SASL_PLAINTEXT: nothing was stored, and others go on"):
            untouched(known, 100)
            served(client, Address.of(server.address, login=OTHER), 100)
        if client is CONFLUENT:
            with test("SASL_PLAINTEXT: no request is answered before SASL"):
                bare(server)


def bare(server):
    """That each request is answered after SASL, and without it ends the connection."""
    for name, request in REQUESTS.items():
        with Bare(server.address) as known, Bare(server.address) as unknown:
            known.log_in(*LOGIN)
            check(known.ask(*request), f"{name} has no answer, after SASL")
            check_equal(unknown.ask(*request), None, f"the answer to {name}, without SASL")


def both(client, files):
    with Server("--tokens", files.tokens, "--cert", files.cert, "--key", files.key, topics=["topic:1"]) as server:
        known = Address.of(server.address, files.authority, LOGIN)
        with test("SASL_SSL: a secret that is known"):
            served(client, known, 0)
        with test("SASL_SSL: the secret of another name"):
            wrong = Address.of(server.address, files.authority, WRONG)
            not_served(client, wrong, AUTHENTICATION[client], "a wrong secret")
        with test("SASL_SSL: a client without SASL"):
            not_served(client, Address.of(server.address, files.authority), ENDED[client], "no SASL")
        with test("SASL_SSL: nothing was stored"):
            untouched(known, 100)


def encrypted(client, files):
    with Server("--cert", files.cert, "--key", files.key, topics=["topic:1"]) as server:
        known = Address.of(server.address, files.authority)
        with test("SSL: a client that knows the authority"):
            served(client, known, 0)
        with test("SSL: a client that knows another authority"):
            other = Address.of(server.address, files.other_authority)
            not_served(client, other, CERTIFICATE[client], "another authority")
        with test("SSL: a client that does not encrypt"):
            not_served(client, server.address, ENDED[client], "no encryption")
        with test("SSL: nothing was stored"):
            untouched(known, 100)


def run(client):
    files = Files(dict([LOGIN, OTHER]))
    for part in (tokens, both, encrypted):
        with test(f"all of `{part.__name__}`"):
            part(client, files)
