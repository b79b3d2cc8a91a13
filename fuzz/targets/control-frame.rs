//! Frames of the control socket, from any bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| control::frame::fuzz_one(data));
