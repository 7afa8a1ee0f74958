"""The five clients, and which of them read."""

from client_aiokafka import Aiokafka
from client_confluent import Confluent
from client_kafka_python import KafkaPython
from client_kafkajs import Kafkajs
from client_kcat import Kcat

KCAT, CONFLUENT, KAFKA_PYTHON, AIOKAFKA, KAFKAJS = Kcat(), Confluent(), KafkaPython(), Aiokafka(), Kafkajs()
CLIENTS = [KCAT, CONFLUENT, KAFKA_PYTHON, AIOKAFKA, KAFKAJS]
# kafkajs reads in groups alone.
READERS = [client for client in CLIENTS if client.reader]
