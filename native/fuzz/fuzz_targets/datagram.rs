#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ztm_native::fuzz::datagram(data));
