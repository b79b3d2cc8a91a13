//! Records of the journal, from any bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| engine::format::record::fuzz_one(data));
