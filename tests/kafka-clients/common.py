"""What all tests share: records, deadlines, the tests themselves and how they tell what they found."""

import logging
import re
import sys
import time
import traceback
from collections import namedtuple
from contextlib import contextmanager
from pathlib import Path

HOME = Path(__file__).resolve().parents[2] / "target" / "kafka-clients"

# A record to produce. Key and value are bytes or None; headers are a list of (text, bytes or None); the timestamp is in
# milliseconds, None leaves it to the client.
Record = namedtuple("Record", "key value headers timestamp", defaults=(None, None, (), None))
# A record that was read.
Read = namedtuple("Read", "offset timestamp key value headers")

# Seconds within which a refusal has to be there.
QUICK = 10
# Seconds within which anything else has to be there.
SOON = 45


class Broken(Exception):
    """Something is not as it has to be."""


class Late(Broken):
    """Something did not happen in time."""


class ClientError(Exception):
    """What a client reports: the name of the error, and the text."""


def check(holds, text):
    if not holds:
        raise Broken(text)


def check_equal(found, wanted, what):
    check(found == wanted, f"{what}: {short(found)}, wanted {short(wanted)}")


def short(value, most=200):
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}... ({len(text)} characters)"


def until(ask, seconds, what):
    """Asks again until the answer is true. `ask` itself waits a little."""
    end = time.monotonic() + seconds
    while True:
        answer = ask()
        if answer:
            return answer
        if time.monotonic() > end:
            raise Late(f"{what}: not within {seconds} s")


def now_ms():
    return time.time_ns() // 1_000_000


def later_ms():
    """A time after everything that is done, and before everything that is still to be done."""
    began = now_ms()
    until(lambda: now_ms() >= began + 5, SOON, "the clock moves")
    between = now_ms()
    until(lambda: now_ms() >= between + 5, SOON, "the clock moves")
    return between


def refused(ask, pattern, what):
    """That `ask` fails with a text that has `pattern`, and soon; returns the text."""
    began = time.monotonic()
    try:
        got = ask()
    except ClientError as error:
        text = str(error)
    else:
        raise Broken(f"{what} was not refused: {short(got)}")
    took = time.monotonic() - began
    check(re.search(pattern, text), f"{what} was refused with {text!r}, which has no {pattern!r}")
    check(took < QUICK, f"{what} was refused only after {took:.1f} s: {text}")
    return text


class Log(logging.Handler):
    """Keeps what a client logs."""

    def __init__(self, level=logging.WARNING):
        super().__init__(level)
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())

    def newest(self):
        """The newest lines, each once."""
        return " ".join(list(dict.fromkeys(self.lines))[-5:])


@contextmanager
def heard(logger):
    """To an error that the block raises, adds what the client says in its log alone; `logger` is the log's name."""
    log = Log()
    logging.getLogger(logger).addHandler(log)
    try:
        yield
    except ClientError as error:
        raise ClientError(f"{error} {log.newest()}".rstrip()) from error
    finally:
        logging.getLogger(logger).removeHandler(log)


def say(kind, text):
    """A line for the program that started this one: `ok`, `FAIL`, `note`, `done`."""
    print(f"{kind} {text}".replace("\n", "\n     "), flush=True)


@contextmanager
def test(name):
    """One test: it fails with whatever the block raises, and the ones behind it still run."""
    began = time.monotonic()
    try:
        yield
    except Exception as error:  # noqa: BLE001
        place = traceback.extract_tb(sys.exc_info()[2])[-1]
        reason = str(error) if isinstance(error, Broken) else f"{type(error).__name__}: {error}"
        say("FAIL", f"{name}: {reason} [{Path(place.filename).name}:{place.lineno}]")
        if not isinstance(error, Broken):
            traceback.print_exc()
    else:
        say("ok", f"{name} ({time.monotonic() - began:.1f} s)")


class Reader:
    """A consumer of one partition. Each client says how it polls and where it is."""

    def __init__(self):
        self.buffer = []

    def poll(self, seconds):
        """What has come, waiting at most so long for the first."""
        raise NotImplementedError

    def at_end(self):
        """Whether all that there is has been handed over by `poll`."""
        raise NotImplementedError

    def close(self):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def take(self, count, seconds=SOON):
        end = time.monotonic() + seconds
        while len(self.buffer) < count:
            if time.monotonic() > end:
                raise Late(f"{len(self.buffer)} of {count} records came within {seconds} s")
            self.buffer += self.poll(0.2)
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def ends_here(self, seconds=SOON):
        """Waits for the end of the partition, and sees that no further record is there."""

        def at_end():
            self.buffer += self.poll(0.1)
            return self.at_end()

        until(at_end, seconds, "the reader is at the end")
        check(not self.buffer, f"a record more than there are: {short(self.buffer[:1])}")


def same(read, records, before, after, first=0):
    """That what was read is what was produced: keys, values, headers, times, and offsets without a gap."""
    check_equal(len(read), len(records), "records")
    for at, (got, sent) in enumerate(zip(read, records)):
        check_equal(got.offset, first + at, f"offset of record {at}")
        check_equal(got.key, sent.key, f"key of record {at}")
        check_equal(got.value, sent.value, f"value of record {at}")
        check_equal(list(got.headers), list(sent.headers), f"headers of record {at}")
        if sent.timestamp is not None:
            check_equal(got.timestamp, sent.timestamp, f"timestamp of record {at}")
        else:
            within = before - 1 <= got.timestamp <= after + 1
            check(within, f"timestamp of record {at}: {got.timestamp} is not in {before}..{after}")


def numbered(count, start=0, size=100):
    """Records that are told apart by their values."""
    return [Record(None, b"%08d" % n + b"." * (size - 8)) for n in range(start, start + count)]


def number_of(read):
    return int(read.value[:8])
