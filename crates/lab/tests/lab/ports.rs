//! Runs with a port of their own.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use lab::cases;
use lab::server::{Audience, Lab};

/// The beginning of the response to a `GET`.
async fn get(address: SocketAddr, path: &'static str) -> String {
    let exchange = move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: lab\r\n\r\n").as_bytes()).unwrap();
        let mut bytes = [0; 1_024];
        let n = stream.read(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..n]).into_owned()
    };
    tokio::task::spawn_blocking(exchange).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_a_port_of_its_own_every_path_is_the_stream_also_while_others_are_open() {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let own = Vec::leak(vec![cases::find("p-basic").unwrap().clone().own_port()]);
    let lab = Lab::start(address, own, Audience::Local).unwrap();
    let run = lab.begin(&own[0], "mine", 0).unwrap();
    let address_of_run: SocketAddr =
        run.url.strip_prefix("http://").unwrap().split('/').next().unwrap().parse().unwrap();
    assert_ne!(address_of_run, lab.address());
    let _silent = TcpStream::connect(address_of_run).unwrap();
    for path in ["/stream/?after=1", "/", "/lab/p-basic/mine"] {
        let response = get(address_of_run, path).await;
        assert!(response.contains("text/event-stream"), "{path}: {response}");
    }
    assert_eq!(run.session.verdict().n_requests, 3);
    // Control: the port of all runs.
    let response = get(lab.address(), "/stream/?after=1").await;
    assert!(response.starts_with("HTTP/1.1 404"), "{response}");
    let response = get(lab.address(), "/lab/p-basic/mine/port").await;
    assert!(response.starts_with("HTTP/1.1 405"), "{response}");
}
