//! The superblock, from any bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| engine::format::superblock::fuzz_one(data));
