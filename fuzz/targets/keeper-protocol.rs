//! Messages of the keeper's socket, from any bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dataplane::keeper::protocol::fuzz_one(data));
