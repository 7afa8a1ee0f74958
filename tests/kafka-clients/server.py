"""A `highwater serve` with a Kafka address, that can be killed and started again on the same directory and port."""

import queue
import random
import re
import signal
import socket
import subprocess
import tempfile
import threading

from common import SOON, Broken, Late

settings = {"command": None, "dir": None}


def free_port():
    """A port outside the range that the system takes for outgoing connections: a client that dials while the server is
    down would otherwise now and then get that very port as its own, and connect to itself."""
    while True:
        port = random.SystemRandom().randrange(12_000, 32_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


class Server:
    def __init__(self, *args, topics=()):
        self.dir = tempfile.mkdtemp(prefix="server-", dir=settings["dir"])
        self.address = f"127.0.0.1:{free_port()}"
        self.args = [*args, *(part for topic in topics for part in ("--kafka-topic", topic))]
        # Where its streams are over HTTP, once it has started.
        self.streams = None
        self.process = None
        self.errors = f"{self.dir}.errors"

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        if self.process and self.process.poll() is None:
            self.kill()

    def start(self):
        where = ["--listen", "127.0.0.1:0", "--kafka", self.address]
        with open(self.errors, "ab") as errors:
            self.process = subprocess.Popen(
                [settings["command"], "serve", self.dir, *where, *self.args],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True,
            )
        lines = queue.Queue()
        threading.Thread(target=self._listen, args=(self.process.stdout, lines), daemon=True).start()
        said = []
        while not any("topics at" in line for line in said):
            try:
                line = lines.get(timeout=SOON)
            except queue.Empty:
                raise Late(f"the server does not say where its topics are: {said}") from None
            if line is None:
                raise Broken(f"the server ended with {self.process.wait()}: {self.said_of_errors()}")
            said.append(line)
        self.streams = re.search(r"https?://\S+/v1/stream/", said[0])[0]
        return said

    @staticmethod
    def _listen(stream, lines):
        for line in stream:
            lines.put(line.rstrip("\n"))
        lines.put(None)

    def said_of_errors(self):
        with open(self.errors, encoding="utf-8", errors="replace") as errors:
            return errors.read()[-2000:].strip()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        """Asks the server to end, as a service manager does."""
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(SOON)
        except subprocess.TimeoutExpired:
            raise Late(f"the server goes on {SOON} s after SIGTERM") from None
        if status != 0:
            raise Broken(f"the server ended with {status} after SIGTERM: {self.said_of_errors()}")
