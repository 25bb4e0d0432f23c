//! A server that is too old. Its answers are made by hand.

use std::io::{BufRead, BufReader, Write};

use crate::common::hand_server::HandServer;
use crate::engine::Engine;
use crate::nodes::{Node, Settings, new_secret};

/// A server that says this version, accepts everybody, and knows nothing else.
fn server(version: &'static str) -> HandServer {
    HandServer::raw(move |_, mut client| {
        let info = serde_json::json!({
            "server_id": "NAOLD", "server_name": "old", "version": version, "proto": 1,
            "go": "go1.19", "host": "127.0.0.1", "port": 4222, "headers": true,
            "max_payload": 1_048_576, "jetstream": true, "client_id": 1
        });
        client.write_all(format!("INFO {info}\r\n").as_bytes())?;
        for line in BufReader::new(client.try_clone()?).lines() {
            if line? == "PING" {
                client.write_all(b"PONG\r\n")?;
            }
        }
        Ok(())
    })
}

#[test]
fn a_server_that_is_too_old_is_refused_with_its_version() {
    for version in ["2.9.10", "2.13.99", "not a version"] {
        let old = server(version);
        let settings = Settings {
            every: "200ms".into(),
            rollcast: String::new(),
            servers: vec![format!("nats://127.0.0.1:{}", old.port())],
            fleet: String::new(),
        };
        let mut node = Node::new(&new_secret(), settings);
        node.start();
        let reason = node.wait_for_refusal();
        assert!(reason.contains(version) && reason.contains("2.14.0"), "{reason}");
        assert_eq!((node.get("/").0, node.head()), (200, 0));
        let (code, _, stderr) = node.run(&["fleet", "create"]);
        assert!(code == 1 && stderr.contains(version), "{code}: {stderr}");
        let (code, stdout, stderr) = node.run(&["check"]);
        assert!(code == 1 && format!("{stdout}{stderr}").contains(version), "{stdout}{stderr}");
    }
    // Control: a real server of a newer version.
    let engine = Engine::start(1);
    let mut node = Node::new(&new_secret(), Settings::of(&engine));
    node.start();
    node.create(&["--replicas", "1"]);
    node.wait_until_it_follows();
}
