"""The server is killed and started again while a client produces. What was acknowledged is there; with idempotence
nothing is there twice, and all is in order."""

import random
import threading
import zlib

from common import SOON, Late, check_equal, numbered, say, test
from ledger import Ledger, modes
from server import Server

KILLS = 5
settings = {"seed": 0}


class Killer(threading.Thread):
    """Kills the server each time so many records are acknowledged, and starts it again."""

    def __init__(self, server, ledger, moments):
        super().__init__(daemon=True)
        self.server, self.ledger, self.moments = server, ledger, moments
        self.kills, self.error = 0, None

    def run(self):
        try:
            for moment in self.moments:
                if not self.ledger.reaches(moment, 60):
                    raise Late(f"{moment} acknowledgements after {self.kills} kills: not within 60 s")
                self.server.kill()
                self.kills += 1
                self.server.start()
        except Exception as error:  # noqa: BLE001
            self.error = error


def seed_of(name):
    return settings["seed"] ^ zlib.crc32(name.encode())


def moments(name, count):
    """Somewhere in each part of the run but the last: what is then in flight has to get through."""
    chance = random.Random(seed_of(name))
    part = count // (KILLS + 1)
    return [chance.randrange(part * n, part * (n + 1)) for n in range(KILLS)]


def run(client):
    for how, idempotent, count, batch in modes(client, 20_000):
        with test(f"{how}: {KILLS} kills"), Server(topics=["numbers:1"]) as server:
            ledger = Ledger()
            killer = Killer(server, ledger, moments(f"{client.name} {how}", count))
            killer.start()
            try:
                client.numbers(server.address, "numbers", numbered(count), idempotent, ledger.acked, batch)
            except Exception:
                if killer.error:
                    raise killer.error from None
                raise
            killer.join(SOON)
            if killer.error:
                raise killer.error
            check_equal(killer.kills, KILLS, "kills")
            doubled = ledger.judge(server.address, count, idempotent)
            say("note", f"{how}: {count} acknowledged, 0 lost, {doubled} doubled, {KILLS} kills")
