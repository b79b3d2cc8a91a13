//! Groups of the journal and entries of the volatile log, from any bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| engine::format::journal::fuzz_one(data));
