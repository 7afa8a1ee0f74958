//! See `connectors/src/http/fuzzing.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| highwater_connectors::fuzz_http_body(data));
