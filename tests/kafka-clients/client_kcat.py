"""kcat: one process for each thing that is asked."""

import json
import queue
import re
import subprocess
import threading
from itertools import groupby

from access import librdkafka
from common import SOON, ClientError, Late, Read, Reader, check

# kcat takes any text between key and value, and between records.
KEY_END, END = "<<key>>", "<<end>>"
RESETS = {"earliest": "earliest", "latest": "latest", "error": "error"}


def kcat(*args, feed=b"", seconds=SOON):
    try:
        done = subprocess.run(["kcat", *args], input=feed, capture_output=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired as late:
        raise Late(f"kcat goes on after {seconds} s: {told((late.stderr or b'').decode(errors='replace'))}") from None
    return done.returncode, done.stdout, done.stderr.decode(errors="replace")


def settings(address, **more):
    given = {"broker.address.family": "v4", "reconnect.backoff.ms": 50, "reconnect.backoff.max.ms": 500}
    given |= librdkafka(address) | {name.replace("_", "."): value for name, value in more.items()}
    return ["-b", address, *(part for name, value in given.items() for part in ("-X", f"{name}={value}"))]


def line_of(record):
    key = b"" if record.key is None else record.key + KEY_END.encode()
    return key + (record.value or b"") + END.encode()


def as_read(line):
    """A line of -J: bytes that are no text are in it as they are."""
    told = json.loads(line.decode("utf-8", "surrogateescape"))

    def raw(text):
        return None if text is None else text.encode("utf-8", "surrogateescape")

    flat = told.get("headers") or []
    headers = list(zip(flat[::2], map(raw, flat[1::2])))
    return Read(told["offset"], told["ts"], raw(told["key"]), raw(told["payload"]), headers)


class KcatReader(Reader):
    def __init__(self, address, topic, start, reset, partition):
        super().__init__()
        place = f"s@{start[1]}" if isinstance(start, tuple) else str(start)
        self.process = subprocess.Popen(
            ["kcat", "-C", "-u", "-J", "-t", topic, "-p", str(partition), "-o", place]
            + settings(address, fetch_wait_max_ms=100, **{"topic.auto.offset.reset": RESETS[reset]}),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        self.lines = queue.Queue()
        self.ends = 0
        self.errors = []
        for stream, take in [(self.process.stdout, self.lines.put), (self.process.stderr, self._error)]:
            threading.Thread(target=self._listen, args=(stream, take), daemon=True).start()

    @staticmethod
    def _listen(stream, take):
        for line in stream:
            take(line)

    def _error(self, line):
        text = line.decode(errors="replace").strip()
        reached = re.search(r"Reached end of topic .* at offset (\d+)", text)
        if reached:
            self.end = int(reached[1])
            self.ends += 1
        else:
            self.errors.append(text)

    def poll(self, seconds):
        found = []
        try:
            found.append(self.lines.get(timeout=seconds))
            while True:
                found.append(self.lines.get_nowait())
        except queue.Empty:
            pass
        if not found and self.process.poll() is not None:
            raise ClientError(f"kcat ended with {self.process.returncode}: {' '.join(self.errors)}")
        read = [as_read(line) for line in found]
        if read:
            self.last = read[-1].offset
        return read

    last = None
    end = None

    def at_end(self):
        return self.ends and (self.last is None or self.last + 1 >= self.end) and self.lines.empty()

    def close(self):
        self.process.kill()
        self.process.wait()


class Kcat:
    name = "kcat"
    logger = None
    acks = ("0", "1", "all")
    codecs = ("none", "gzip", "snappy", "lz4", "zstd")
    sets_timestamps = False
    null_headers = True
    sends_nothing = False
    goes_on = True
    pipelines = True

    def sent(self, records):
        """What becomes of records: kcat cannot set times."""
        return [record._replace(timestamp=None) for record in records]

    def produce(
        self, address, topic, records, acks="all", idempotent=False, codec="none", partition=0, batch=1000, linger=5,
    ):
        """Returns the codecs that batches had."""
        seen = set()

        # Headers and what an empty text means are for all records of a process.
        def kind(record):
            return list(record.headers), record.key is None and record.value == b"" or b"" in (record.key, record.value)

        for (headers, empty), group in groupby(records, kind):
            group = list(group)
            check(not (empty and any(None in (r.key and r.value, r.value) for r in group)), "kcat: empty beside null")
            args = [f"-H{name}" if value is None else f"-H{name}=".encode() + value for name, value in headers]
            if not empty:
                args.append("-Z")
            if partition is not None:
                args += ["-p", str(partition)]
            status, _, errors = kcat(
                "-P", "-t", topic, "-K", KEY_END, "-D", END, "-z", codec, "-d", "msg", *args,
                *settings(
                    address, acks=acks, enable_idempotence=str(idempotent).lower(), batch_num_messages=batch,
                    linger_ms=linger,
                ),
                feed=b"".join(map(line_of, group)),
            )
            if status != 0 or "Delivery failed" in errors:
                raise ClientError(f"kcat ended with {status}: {told(errors)}")
            seen |= set(re.findall(r"Produce MessageSet with .*, (\w+)\)", errors))
        return {"none" if codec == "uncompressed" else codec for codec in seen}

    def numbers(self, address, topic, records, idempotent, acked, batch=100):
        """Produces without stopping; tells of each acknowledgement as it comes."""
        process = subprocess.Popen(
            ["kcat", "-P", "-E", "-t", topic, "-p", "0", "-v", "-v", "-D", END]
            + settings(
                address, acks="all", enable_idempotence=str(idempotent).lower(), batch_num_messages=batch, linger_ms=5,
                max_in_flight=5, queue_buffering_max_messages=1000, message_timeout_ms=120_000, retries=10_000,
                retry_backoff_ms=50,
            ),
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )

        def feed():
            try:
                for record in records:
                    process.stdin.write(line_of(record))
                process.stdin.close()
            except BrokenPipeError:
                pass

        threading.Thread(target=feed, daemon=True).start()
        other = []
        # The n-th that is delivered is the n-th record only if none can overtake.
        count = 0
        for line in process.stderr:
            line = line.decode(errors="replace")
            delivered = re.search(r"Message delivered to partition 0 \(offset (-?\d+)\)", line)
            if delivered:
                acked(count if idempotent else None, int(delivered[1]))
                count += 1
            else:
                other.append(line.strip())
        status = process.wait()
        failed = [line for line in other if "Delivery failed" in line]
        check(status == 0 and not failed, f"kcat ended with {status}: {' '.join((failed or other)[-3:])}")

    def reader(self, address, topic, start="beginning", reset="error", partition=0):
        return KcatReader(address, topic, start, reset, partition)

    def offset_at(self, address, topic, ms, partition=0):
        status, out, errors = kcat("-Q", "-t", f"{topic}:{partition}:{ms}", *settings(address))
        found = re.search(rb"offset (-?\d+)", out)
        if status != 0 or not found:
            raise ClientError(f"kcat ended with {status}: {errors}")
        return None if int(found[1]) < 0 else int(found[1])

    def bounds(self, address, topic, partition=0):
        # The two times that mean the beginning and the end.
        return tuple(self.offset_at(address, topic, place, partition) for place in (-2, -1))

    def partitions(self, address, topic):
        status, out, errors = kcat("-L", "-J", "-t", topic, *settings(address))
        check(status == 0, f"kcat ended with {status}: {errors}")
        (found,) = json.loads(out)["topics"]
        if "error" in found:
            raise ClientError(found["error"])
        return len(found["partitions"])

    def group(self, address, topic):
        return self._ended(kcat("-G", "group", topic, *settings(address)))

    def transaction(self, address, topic):
        return self._ended(kcat("-P", "-t", topic, *settings(address, transactional_id="one"), feed=b"x"))

    def send_each(self, address, topic, values, idempotent=False):
        """Sends one after the other with one producer; what became of each: None, or the text of the error."""
        # All are of one process, and each in a batch of its own: what is too large would else take others with it.
        feed = END.encode().join(values)
        status, _, errors = kcat(
            "-P", "-E", "-t", topic, "-v", "-v", "-D", END, "-p", "0",
            *settings(
                address, message_max_bytes=64 << 20, batch_num_messages=1, max_in_flight=1, acks="all",
                enable_idempotence=str(idempotent).lower(), **{"topic.metadata.propagation.max.ms": 0},
            ),
            feed=feed,
        )
        outcomes = re.findall(r"Delivery failed for message: (.*)|(Message delivered)", errors)
        check(len(outcomes) == len(values), f"kcat ended with {status}: {told(errors)}")
        return [None if delivered else failed for failed, delivered in outcomes]

    @staticmethod
    def _ended(done):
        status, out, errors = done
        if status != 0:
            raise ClientError(told(errors))
        return out


def told(errors):
    """The lines that are not of debugging."""
    lines = [line for line in errors.splitlines() if not line.startswith("%7|")]
    return " ".join(lines[-3:])[:600]

