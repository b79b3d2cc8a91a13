//! Headers of units, from any bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| engine::format::header::fuzz_one(data));
