//! The record of what is attached, from any bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dataplane::attached::fuzz_one(data));
