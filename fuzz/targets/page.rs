//! Pages of segments, from any bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| engine::format::page::fuzz_one(data));
