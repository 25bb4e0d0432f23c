//! Tests of the real binary as a process, and of the library through its public interface. They
//! need only Rust and a C compiler.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

#[path = "../common/mod.rs"]
mod common;

mod addresses;
mod api;
mod backup;
mod client;
mod commands;
mod configuration;
mod documents;
mod export;
mod fanout;
mod feed;
mod file_limit;
mod history;
mod http;
mod lab;
mod lab_command;
mod log_pages;
mod overwritten;
mod monitor;
mod pages;
mod probes;
mod protocol;
mod proxy;
mod ready;
mod retention;
mod server_lock;
mod site;
mod signals;
mod statistics;
mod store;
mod stream;
mod systemd;
mod tail;
mod terminal;
mod union;
mod unreadable;
mod verify;
