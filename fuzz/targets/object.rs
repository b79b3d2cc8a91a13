//! Object records and parts of the owner's text, from any bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| engine::format::object::fuzz_one(data));
