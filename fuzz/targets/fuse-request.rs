//! Requests of the kernel over FUSE, from any bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dataplane::fuse::request::fuzz_one(data));
