//! rollcast's own reader, without its reconnects.

#[path = "../../../../../event-stream/examples/lab.rs"]
mod adapter;

fn main() {
    if let Err(error) = adapter::main() {
        lab_adapters::fail(error);
    }
}
