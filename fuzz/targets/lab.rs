#![no_main]
#![allow(dead_code, reason = "each target uses its own part")]

#[path = "../properties.rs"]
mod properties;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| properties::lab(bytes));
