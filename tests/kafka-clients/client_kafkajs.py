"""kafkajs: a process of Node for each thing that is asked. It reads in groups alone, so here it only produces."""

import base64
import json
import subprocess
from pathlib import Path

from access import access_of
from common import HOME, SOON, ClientError, Late, check

SCRIPT = Path(__file__).with_name("kafkajs.mjs")


def coded(data):
    return None if data is None else base64.b64encode(data).decode()


class Kafkajs:
    name = "kafkajs"
    logger = None
    acks = ("0", "1", "all")
    codecs = ("none", "gzip", "snappy", "lz4", "zstd")
    sets_timestamps = True
    null_headers = False
    sends_nothing = True
    goes_on = True
    pipelines = False

    def sent(self, records):
        """Its headers are an object: those of one name come together."""
        def together(headers):
            names = dict.fromkeys(name for name, _ in headers)
            return [(name, value) for name in names for other, value in headers if other == name]
        return [record._replace(headers=together(record.headers)) for record in records]

    def _start(self, **asked):
        access = access_of(asked["address"])
        asked |= {"node": str(HOME / "node" / "node_modules"), "authority": access.authority, "login": access.login}
        process = subprocess.Popen(
            ["node", str(SCRIPT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=None, text=True,
        )
        process.stdin.write(json.dumps(asked))
        process.stdin.close()
        return process

    def _ask(self, **asked):
        process = self._start(**asked)
        try:
            process.stdin = None
            out, _ = process.communicate(timeout=2 * SOON)
        except subprocess.TimeoutExpired:
            raise Late(f"kafkajs goes on after {2 * SOON} s") from None
        finally:
            process.kill()
        return self._answer(out)

    @staticmethod
    def _answer(line):
        check(line.strip(), "kafkajs says nothing")
        answer = json.loads(line)
        if "error" in answer:
            raise ClientError(answer["error"])
        return answer["done"]

    @staticmethod
    def _message(record, partition=None):
        message = {"key": coded(record.key), "value": coded(record.value)}
        if record.headers:
            message["headers"] = [[name, coded(value)] for name, value in record.headers]
        if record.timestamp is not None:
            message["timestamp"] = str(record.timestamp)
        if partition is not None:
            message["partition"] = partition
        return message

    def produce(self, address, topic, records, acks="all", idempotent=False, codec="none", partition=0, batch=1000):
        self._ask(
            ask="produce", address=address, topic=topic, acks={"all": -1}.get(acks) or int(acks),
            idempotent=idempotent, codec=codec, batch=batch,
            messages=[self._message(record, partition) for record in records],
        )

    def numbers(self, address, topic, records, idempotent, acked, batch=100):
        # What is idempotent goes out one request after the other: while several wait for their turn, kafkajs gives the
        # sequence of a failed one to the next.
        process = self._start(
            ask="numbers", address=address, topic=topic, idempotent=idempotent, batch=batch,
            parallel=1 if idempotent else 5, messages=[self._message(record, 0) for record in records],
        )
        last = ""
        try:
            for line in process.stdout:
                last = line
                answer = json.loads(line)
                if "first" in answer:
                    for at in range(answer["count"]):
                        acked(answer["first"] + at, answer["offset"] + at)
            process.wait()
        finally:
            process.kill()
        self._answer(last)

    reader = None

    def partitions(self, address, topic):
        return self._ask(ask="partitions", address=address, topic=topic)

    def group(self, address, topic):
        return self._ask(ask="group", address=address, topic=topic)

    def transaction(self, address, topic):
        return self._ask(ask="transaction", address=address, topic=topic)

    def send_each(self, address, topic, values, idempotent=False):
        return self._ask(
            ask="each", address=address, topic=topic, idempotent=idempotent, values=[coded(value) for value in values],
        )
