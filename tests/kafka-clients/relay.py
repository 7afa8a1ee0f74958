"""A relay before the server, which cuts connections at the worst moment: the server has taken what a client sent, and
the client has not heard of it."""

import random
import socket
import struct
import threading
from collections import deque

PRODUCE, METADATA = 0, 3
# Clients come here, on the server's own port. Both texts are of one length, so that metadata can name this one.
HERE, THERE = b"127.0.0.2", b"127.0.0.1"
# Seconds after which no further answer is waited for, where the client has fewer requests under way.
SILENCE = 0.2


def frame_of(stream):
    """One request or answer without its length; None at the end."""
    head = stream.read(4)
    if len(head) < 4:
        return None
    (length,) = struct.unpack(">i", head)
    body = stream.read(length)
    return body if len(body) == length else None


def framed(body):
    return struct.pack(">i", len(body)) + body


class Relay:
    def __init__(self, address, cuts, seed):
        self.port = int(address.rsplit(":", 1)[1])
        self.address = f"{HERE.decode()}:{self.port}"
        self.left, self.made, self.unheard = cuts, 0, 0
        self.chance = random.Random(seed)
        self.lock = threading.Lock()
        self.listener = socket.create_server((HERE.decode(), self.port))

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection((THERE.decode(), self.port))
            except OSError:
                client.close()
                continue
            asked = deque()
            threading.Thread(target=self._requests, args=(client, server, asked), daemon=True).start()
            threading.Thread(target=self._answers, args=(client, server, asked), daemon=True).start()

    @staticmethod
    def _requests(client, server, asked):
        stream = client.makefile("rb")
        try:
            while body := frame_of(stream):
                asked.append(struct.unpack_from(">h", body)[0])
                server.sendall(framed(body))
        except OSError:
            pass
        finally:
            shut(server)

    def _answers(self, client, server, asked):
        with self.lock:
            heard = self.chance.randrange(2, 8)
            unheard = self.chance.randrange(1, 6)
        stream = server.makefile("rb")
        try:
            while body := frame_of(stream):
                # Answers come in the order of the requests.
                kind = asked.popleft()
                if kind == PRODUCE:
                    heard -= 1
                    if heard < 0 and self._may_cut():
                        self._lose(server, stream, unheard - 1)
                        return
                if kind == METADATA:
                    body = body.replace(THERE, HERE)
                client.sendall(framed(body))
        except OSError:
            pass
        finally:
            shut(client)
            shut(server)

    def _may_cut(self):
        with self.lock:
            self.left -= 1
            return self.left >= 0

    def _lose(self, server, stream, more):
        """Takes the answers to so many further requests, if they come, and gives them to no one."""
        lost = 1
        server.settimeout(SILENCE)
        try:
            while lost <= more and frame_of(stream) is not None:
                lost += 1
        except OSError:
            pass
        with self.lock:
            self.made += 1
            self.unheard += lost


def shut(end):
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    end.close()
