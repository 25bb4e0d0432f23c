#![no_main]
#![allow(dead_code, reason = "each target uses its own part")]

#[path = "../properties.rs"]
mod properties;

use std::sync::LazyLock;

use properties::Server;

const PROJECT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

libfuzzer_sys::fuzz_target!(|query: &str| {
    static SERVER: LazyLock<Server> = LazyLock::new(|| Server::new(PROJECT));
    SERVER.query(query);
});
