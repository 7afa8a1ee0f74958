//! See `kafka/src/fuzzing.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| highwater_kafka::fuzz_batch(data));
