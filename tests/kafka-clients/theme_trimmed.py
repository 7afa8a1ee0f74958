"""Topics that keep only a part: each reader begins where they begin, and what is left is as it was sent."""

from common import SOON, check, check_equal, now_ms, numbered, refused, same, test, until
from server import Server
from streams import RECORDS, put
from theme_reading import fill, read

COUNT, BATCH, SIZE = 2000, 40, 100
# Bounds of two topics. A topic is trimmed when it has an eighth more, to what is kept and the batch that crosses it.
KEPT_BYTES, KEPT_RECORDS = 30_000, 100
# A record has so many bytes more than its value, at most.
AROUND = 20
# The server looks at each topic every eight seconds.
TRIMMED = SOON + 10
OUT_OF_RANGE = r"(?i)out.?of.?range"


def kept_by_bytes(kept):
    return KEPT_BYTES // (SIZE + AROUND) <= kept <= KEPT_BYTES * 9 // 8 // SIZE + BATCH


def kept_by_records(kept):
    # 20 of the batch that the bound crosses.
    return kept == KEPT_RECORDS + BATCH // 2


def first_of(client, server, topic, is_kept):
    """Where the topic begins, once it has been trimmed."""
    def look():
        first, end = client.bounds(server.address, topic)
        check_equal(end, COUNT, "the next offset")
        return first if first > 0 and is_kept(end - first) else None

    return until(look, TRIMMED, f"the topic {topic} is trimmed")


def judge(client, server, topic, first, records, began):
    left = records[first:]

    def begins(start, reset):
        same(read(client, server, topic, start, len(left), reset=reset), left, began, now_ms(), first=first)

    with test(f"{topic}: the beginning is offset {first} of {COUNT}, and what is left is exact"):
        begins("beginning", "error")
    with test(f"{topic}: the first offset that is left"):
        begins(first, "error")
    for older in (0, first - 1):
        with test(f"{topic}: offset {older} is out of range"):
            refused(lambda: read(client, server, topic, older, 1, reset="error"), OUT_OF_RANGE, "an older offset")
        with test(f"{topic}: offset {older}, as `earliest`"):
            begins(older, "earliest")
    with test(f"{topic}: offset 0, as `latest`"):
        check_equal(read(client, server, topic, 0, 0, reset="latest"), [], "records")
    with test(f"{topic}: a time before all"):
        check_equal(client.offset_at(server.address, topic, 1_000_000_000_000), first, "offset")


def run(client):
    topics = {"by-bytes": kept_by_bytes, "by-records": kept_by_records}
    with Server("--retain-bytes", str(KEPT_BYTES), topics=["by-bytes:1"]) as server:
        put(server, "by-records", RECORDS, Highwater_Retain_Positions=str(KEPT_RECORDS))
        began, records = now_ms(), numbered(COUNT, size=SIZE)
        for topic in topics:
            fill(server, topic, records, batch=BATCH)
        firsts = {}
        for topic, is_kept in topics.items():
            with test(f"{topic}: it is trimmed"):
                firsts[topic] = first_of(client, server, topic, is_kept)
        for topic, first in firsts.items():
            judge(client, server, topic, first, records, began)
        with test("after a kill the topics begin where they did"):
            server.kill()
            server.start()
            for topic, first in firsts.items():
                check_equal(tuple(client.bounds(server.address, topic)), (first, COUNT), f"bounds of {topic}")
