//! Which requests of `tail`, `export` and `doctor` go through a proxy.

use std::io::Write;
use std::process::Command;

use crate::common::hand_server::HandServer;
use crate::common::tail::Tail;
use crate::common::{Instance, run, wait_for};

/// A machine that does not exist, so that only a proxy can answer for it.
const ELSEWHERE: &str = "http://dice.invalid/";
/// A proxy that does not listen.
const DEAD: &str = "http://me:secret@127.0.0.1:1";

/// A variable of the environment: its name and its value.
type Variable<'a> = (&'a str, &'a str);

/// The program with only these variables about proxies.
fn command(instance: &Instance, variables: &[Variable]) -> Command {
    let mut command = instance.command();
    for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
        command.env_remove(name).env_remove(name.to_uppercase());
    }
    command.envs(variables.iter().copied());
    command
}

#[test]
fn this_machine_is_never_reached_through_a_proxy() {
    let instance = Instance::new("every = '20ms'");
    let _server = instance.start();
    let url = instance.url("/");
    let variables = [("HTTP_PROXY", DEAD), ("ALL_PROXY", DEAD)];
    let mut tail = Tail::spawn(command(&instance, &variables).args(["tail", "-n", "1"]));
    tail.wait_for_lines(3);
    assert_eq!(tail.interrupt(), 0, "{}", tail.stderr());
    let (code, stdout, stderr) = run(command(&instance, &variables).args(["export", &url]));
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.lines().count() > 1);
    let doctor = ["doctor", "--for", "300ms", &url];
    let (_, stdout, stderr) = run(command(&instance, &variables).args(doctor));
    assert!(stdout.contains("rollcast") && !stdout.contains("PROXY"), "{stdout}{stderr}");
}

#[test]
fn plain_http_is_requested_from_the_proxy_with_the_whole_url() {
    let sync = "event: sync\ndata: {\"mode\":\"live\",\"head\":\"0\",\"replay\":0,\"lost\":0}\n\n";
    let stream = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n\
         {sync}id: 1-1795392001123\ndata: {{\"1D6\":4}}\n\n"
    );
    let file = "HTTP/1.1 200 OK\r\nContent-Type: text/csv\r\nRollcast-Last: 1\r\n\
                Connection: close\r\n\r\nid,rolled_at,1D6\r\n1,2026-11-23T00:00:01.123Z,4\r\n";
    let proxy = HandServer::answering(move |_, request, mut client| {
        let is_file = request.path.contains(".csv");
        client.write_all(if is_file { file.as_bytes() } else { stream.as_bytes() })?;
        if !is_file {
            std::thread::park_timeout(crate::common::TIMEOUT);
        }
        Ok(())
    });
    let instance = Instance::new("");
    let address = proxy.url("").replace("http://", "me:p%40ss@");
    let variables = [("HTTP_PROXY", &*address), ("NO_PROXY", "10.0.0.0/8, a.invalid")];
    let mut tail = Tail::spawn(command(&instance, &variables).args(["tail", "-n", "0", ELSEWHERE]));
    tail.wait_for_lines(1);
    assert_eq!(tail.interrupt(), 0, "{}", tail.stderr());
    let (code, _, stderr) = run(command(&instance, &variables).args(["export", ELSEWHERE]));
    assert_eq!(code, 0, "{stderr}");
    let stream_url = format!("{ELSEWHERE}stream/");
    let doctor = ["doctor", "--for", "300ms", "--timeout", "2s", &stream_url];
    let (_, stdout, stderr) = run(command(&instance, &variables).args(doctor));
    let named = "the requests go through `http://me:***@127.0.0.1";
    assert!(stdout.contains(named) && stdout.contains("(HTTP_PROXY)"), "{stdout}{stderr}");
    for request in proxy.requests().iter().filter(|request| !request.method.is_empty()) {
        assert!(request.path.starts_with(ELSEWHERE), "{request:?}");
        assert_eq!(request.header("host"), Some("dice.invalid"));
        assert_eq!(request.header("proxy-authorization"), Some("basic bwu6cebzcw=="));
    }
    assert!(proxy.requests().len() > 4, "{:#?}", proxy.requests());
}

#[test]
fn an_error_names_the_proxy() {
    let instance = Instance::new("");
    let refusing = HandServer::answering(|_, _, mut client| {
        client
            .write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
    });
    let refusing_url = refusing.url("/");
    let dead = "`http://me:***@127.0.0.1:1/` (ALL_PROXY)";
    let refused = format!("`{refusing_url}` (HTTPS_PROXY)");
    let plain = format!("`{refusing_url}` (http_proxy)");
    let socks = [("HTTP_PROXY", "socks5://127.0.0.1:1")];
    let table: [(&[Variable], &str, &str); 5] = [
        (&[("ALL_PROXY", DEAD)], ELSEWHERE, dead),
        (&[("ALL_PROXY", DEAD)], "https://dice.invalid/", dead),
        (&[("HTTPS_PROXY", &refusing_url)], "https://dice.invalid/", &refused),
        (&[("http_proxy", &refusing_url)], ELSEWHERE, &plain),
        (&socks, ELSEWHERE, "in HTTP_PROXY; SOCKS is not supported"),
    ];
    for (variables, url, named) in table {
        for arguments in
            [&["tail", "-n", "0"][..], &["tail"], &["export"], &["doctor", "--for", "100ms"]]
        {
            let (code, stdout, stderr) =
                run(command(&instance, variables).args(arguments).arg(url));
            assert_ne!(code, 0, "{arguments:?} {url}");
            let text = format!("{stdout}{stderr}");
            // The doctor wraps its lines.
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(text.contains(named), "{arguments:?} {url}: expected {named} in {text}");
            assert!(!text.contains("secret"), "{text}");
        }
    }
    // A request to a host of NO_PROXY does not reach the proxy.
    let n_requests = refusing.requests().len();
    let variables = [("HTTP_PROXY", &*refusing_url), ("NO_PROXY", "x.example, invalid 10.0.0.0/8")];
    let (code, _, stderr) = run(command(&instance, &variables).args(["tail", ELSEWHERE]));
    assert_eq!((code, refusing.requests().len()), (1, n_requests), "{stderr}");
    wait_for("the help", || {
        let (_, help, _) = run(instance.command().arg("--help"));
        (help.contains("HTTP_PROXY") && help.contains("NO_PROXY")).then_some(())
    });
}
