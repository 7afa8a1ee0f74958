"""Groups and transactions are refused: soon, and with the server's sentence where the client passes it on."""

from clients import CONFLUENT, KAFKAJS, KCAT
from common import numbered, refused, say, test
from server import Server

# librdkafka passes the sentence on, and has one of its own if there is none.
GROUPS = {
    KCAT: r"FindCoordinator response error: (?!Broker: Group authorization).*group",
    CONFLUENT: r"^GROUP_AUTHORIZATION_FAILED: FindCoordinator response error: (?!Broker: Group authorization).*group",
    KAFKAJS: r"GroupCoordinatorNotFound",
}
TRANSACTIONS = {
    KCAT: r"Transactional Id authorization failed: .*transaction",
    CONFLUENT: r"^fatal TRANSACTIONAL_ID_AUTHORIZATION_FAILED: .*Id authorization failed: .*transaction",
    KAFKAJS: r"GroupCoordinatorNotFound",
}


def run(client):
    with Server(topics=["topic:1"]) as server:
        with test("a group"):
            pattern = GROUPS.get(client, r"GroupAuthorizationFailed")
            say("note", f"group: {refused(lambda: client.group(server.address, 'topic'), pattern, 'a group')}")
        with test("a transaction"):
            pattern = TRANSACTIONS.get(client, r"TransactionalIdAuthorizationFailed")
            text = refused(lambda: client.transaction(server.address, "topic"), pattern, "a transaction")
            say("note", f"transaction: {text}")
        with test("producing after that"):
            client.produce(server.address, "topic", numbered(10))
        if client is CONFLUENT:
            with test("a consumer with the name of a group that assigns goes on reading"):
                with client.reader(server.address, "topic", **{"group.id": "group"}) as reader:
                    reader.take(10)
                    reader.ends_here()
