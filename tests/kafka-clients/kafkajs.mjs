// What the tests ask of kafkajs: one object is the input; the last line of the output is the answer, `done` or `error`.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const asked = JSON.parse(readFileSync(0, 'utf8'));
const require = createRequire(`${asked.node}/here.js`);
const { Kafka, CompressionCodecs, CompressionTypes, Partitioners, logLevel } = require('kafkajs');

// The codecs that kafkajs leaves to others, registered as its documentation says.
CompressionCodecs[CompressionTypes.Snappy] = require('kafkajs-snappy');
const lz4 = require('lz4js');
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async (encoder) => Buffer.from(lz4.compress(encoder.buffer)),
  decompress: async (buffer) => Buffer.from(lz4.decompress(buffer)),
});
const zstd = require('@bokuweb/zstd-wasm');
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async (encoder) => {
    await zstd.init();
    return Buffer.from(zstd.compress(encoder.buffer));
  },
  decompress: async (buffer) => {
    await zstd.init();
    return Buffer.from(zstd.decompress(buffer));
  },
});
const codecs = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4,
  zstd: CompressionTypes.ZSTD,
};

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const bytes = (text) => (text === null ? null : Buffer.from(text, 'base64'));

function access() {
  const { authority, login } = asked;
  return {
    ...(authority && { ssl: { ca: [readFileSync(authority)] } }),
    ...(login && { sasl: { mechanism: 'plain', username: login[0], password: login[1] } }),
  };
}

function client(retries = 5) {
  return new Kafka({
    clientId: 'tests',
    brokers: [asked.address],
    ...access(),
    logLevel: logLevel.NOTHING,
    retry: { retries, initialRetryTime: 50, maxRetryTime: 500 },
  });
}

function message({ key, value, headers, ...others }) {
  const grouped = {};
  for (const [name, header] of headers ?? []) {
    (grouped[name] ??= []).push(bytes(header));
  }
  return { ...others, key: bytes(key), value: bytes(value), headers: grouped };
}

function producer(kafka, more = {}) {
  const { idempotent } = asked;
  return kafka.producer({
    createPartitioner: Partitioners.DefaultPartitioner,
    idempotent,
    maxInFlightRequests: idempotent ? 1 : 5,
    ...more,
  });
}

// Calls `use` with a producer that is connected.
async function producing(kafka, use) {
  const connected = producer(kafka);
  await connected.connect();
  try {
    return await use(connected);
  } finally {
    await connected.disconnect();
  }
}

// Batches of messages, each with the number of its first.
function batches(messages) {
  const all = [];
  for (let first = 0; first < messages.length; first += asked.batch) {
    all.push([first, messages.slice(first, first + asked.batch)]);
  }
  return all;
}

// kafkajs gives up where it notices itself that a connection is gone. Without idempotence a program sends again.
async function sendAgain(connected, batch, attempts = 200) {
  for (;;) {
    try {
      return await connected.send(batch);
    } catch (error) {
      attempts -= 1;
      if (asked.idempotent || attempts === 0 || !/not connected|connection/i.test(error.message)) {
        throw error;
      }
      await new Promise((go) => setTimeout(go, 50));
      await connected.connect();
    }
  }
}

const asks = {
  async produce() {
    const { topic, acks } = asked;
    await producing(client(), async (connected) => {
      for (const [, messages] of batches(asked.messages.map(message))) {
        await connected.send({ topic, acks, compression: codecs[asked.codec], messages });
      }
    });
  },

  async numbers() {
    const { topic } = asked;
    const kafka = client(Number.MAX_SAFE_INTEGER);
    const left = batches(asked.messages.map(message));
    await producing(kafka, async (connected) => {
      const worker = async () => {
        for (let next = left.shift(); next; next = left.shift()) {
          const [first, messages] = next;
          const [{ baseOffset }] = await sendAgain(connected, { topic, messages });
          say({ first, count: messages.length, offset: Number(baseOffset) });
        }
      };
      await Promise.all(Array.from({ length: asked.parallel }, worker));
    });
  },

  async partitions() {
    const admin = client().admin();
    await admin.connect();
    const { topics } = await admin.fetchTopicMetadata({ topics: [asked.topic] });
    await admin.disconnect();
    return topics[0].partitions.length;
  },

  async group() {
    const consumer = client().consumer({ groupId: 'group' });
    const crashed = new Promise((_, fail) => {
      consumer.on(consumer.events.CRASH, ({ payload }) => fail(payload.error));
    });
    crashed.catch(() => {});
    await consumer.connect();
    await consumer.subscribe({ topics: [asked.topic] });
    await Promise.race([crashed, Promise.all([consumer.run({ eachMessage: async () => {} }), crashed])]);
  },

  async transaction() {
    const connected = producer(client(), { transactionalId: 'one', idempotent: true, maxInFlightRequests: 1 });
    await connected.connect();
    await connected.transaction();
  },

  async each() {
    const { topic } = asked;
    return producing(client(), async (connected) => {
      const outcomes = [];
      for (const value of asked.values) {
        try {
          await connected.send({ topic, messages: [{ value: bytes(value), partition: 0 }] });
          outcomes.push(null);
        } catch (error) {
          outcomes.push(told(error));
        }
      }
      return outcomes;
    });
  },
};

function told(error) {
  return [error.name, error.type, error.message].filter(Boolean).join(': ');
}

let answer;
try {
  answer = { done: (await asks[asked.ask]()) ?? null };
} catch (error) {
  answer = { error: told(error) };
}
process.stdout.write(`${JSON.stringify(answer)}\n`, () => process.exit(0));
