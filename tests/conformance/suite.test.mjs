// The suite of the protocol, against the server at CONFORMANCE_URL. Subscriptions are optional, and not offered.
import { runConformanceTests } from "@durable-streams/server-conformance-tests"

runConformanceTests({ baseUrl: process.env.CONFORMANCE_URL, longPollTimeoutMs: 500, subscriptions: false })
