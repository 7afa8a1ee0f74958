"""A record that is too large is refused, and the producer goes on."""

import re

from clients import CONFLUENT
from common import check, check_equal, test
from server import Server

# The log takes at most 16 MiB, with what a record has around it.
TOO_LARGE = 16 << 20
LARGE = 8 << 20
SAID = r"(?i)too.?large|larger than the max"


def run(client):
    with Server(topics=["plain:1", "idempotent:1"]) as server:
        for topic in ("plain", "idempotent"):
            idempotent = topic == "idempotent"
            with test(f"a record of {TOO_LARGE} bytes, {topic}"):
                first, after = [b"before", b"t" * TOO_LARGE], [b"after", b"l" * LARGE, b"last"]

                def send(values):
                    return client.send_each(server.address, topic, values, idempotent=idempotent)

                if client.goes_on or not idempotent:
                    outcomes = send(first + after)
                else:
                    # This client itself ends an idempotent producer with the first refusal.
                    outcomes = send(first) + send(after)
                check(outcomes[1] and re.search(SAID, outcomes[1]), f"the outcome is {outcomes[1]!r}")
                check_equal([bool(one) for one in outcomes], [False, True, False, False, False], "refused")
                with CONFLUENT.reader(server.address, topic) as reader:
                    read = [one.value for one in reader.take(4)]
                    reader.ends_here()
                check(read == [b"before", *after], f"lengths of what is there: {[len(one) for one in read]}")
