"""Connections are cut after the server has taken records and before the client hears of it. With idempotence nothing is
there twice; without it something is, which shows that these cuts do what they should."""

from common import check, check_equal, numbered, say, test
from ledger import Ledger, modes
from relay import Relay
from server import Server
from theme_kills import seed_of

CUTS = 10


def run(client):
    for how, idempotent, count, batch in modes(client, 10_000):
        with (
            test(f"{how}: {CUTS} cuts"),
            Server(topics=["numbers:1"]) as server,
            Relay(server.address, CUTS, seed_of(f"{client.name} {how}")) as relay,
        ):
            ledger = Ledger()
            client.numbers(relay.address, "numbers", numbered(count), idempotent, ledger.acked, batch)
            check_equal(relay.made, CUTS, "cuts")
            doubled = ledger.judge(server.address, count, idempotent)
            check(idempotent or doubled, "nothing is there twice: the cuts have lost no answer that mattered")
            say("note", f"{how}: {relay.unheard} answers lost in {CUTS} cuts, {doubled} doubled")
