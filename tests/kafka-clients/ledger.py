"""What a client was told, and whether the log holds it."""

import threading
from collections import Counter

from clients import CONFLUENT
from common import check, check_equal, number_of


def modes(client, count):
    """How to produce: in words, whether idempotent, how many records, how many in a batch."""
    yield "idempotent", True, count, 100
    if client.pipelines:
        # With idempotence librdkafka has 5 records in flight, not 5 batches.
        yield "idempotent, 5 batches in flight", True, 3000, 1
    yield "not idempotent", False, count, 100


class Ledger:
    """What has been acknowledged: numbers with their offsets, where the client tells which is which."""

    def __init__(self):
        self.changed = threading.Condition()
        self.offsets = []
        self.numbers = {}

    def acked(self, number, offset):
        with self.changed:
            self.offsets.append(offset)
            if number is not None:
                self.numbers[number] = offset
            self.changed.notify_all()

    def reaches(self, count, seconds):
        with self.changed:
            return self.changed.wait_for(lambda: len(self.offsets) >= count, seconds)

    def judge(self, address, count, idempotent):
        """That all is acknowledged and there; with idempotence once, and in order. Returns how many are there twice."""
        check_equal(len(self.offsets), count, "acknowledged")
        check(all(offset is not None and offset >= 0 for offset in self.offsets), "an acknowledgement has no offset")
        log = everything(address)
        there = Counter(log)
        lost = [number for number in range(count) if number not in there]
        check(not lost, f"{len(lost)} acknowledged records are lost: {lost[:5]}...")
        doubled = sorted(number for number, times in there.items() if times > 1)
        if idempotent:
            check(not doubled, f"{len(doubled)} records are there twice: {doubled[:5]}...")
            wrong = next((at for at, number in enumerate(log) if at != number), None)
            check(wrong is None, f"the order breaks: {log[wrong or 0]} is at offset {wrong}")
        for number, offset in self.numbers.items():
            found = log[offset] if offset < len(log) else None
            check_equal(found, number, f"record at offset {offset}, as it was acknowledged")
        return len(doubled)


def everything(address):
    """The numbers in the order of the log."""
    _, end = CONFLUENT.bounds(address, "numbers")
    with CONFLUENT.reader(address, "numbers") as reader:
        log = [number_of(one) for one in reader.take(end)]
        reader.ends_here()
    return log
