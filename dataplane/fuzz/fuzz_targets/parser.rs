#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| dataplane_fuzz::parser(input));
