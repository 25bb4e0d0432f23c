//! File descriptors run out: the server waits without using CPU, open streams continue, and new
//! connections are accepted at once when descriptors are free again.

use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::listener::{Behaviour, Listener};
use crate::common::{Door, ROLLCAST, at_each_door, http, wait_for};
use crate::kills::head;
use crate::oracle::{Stored, log_of};
use crate::process::{cpu_shares, n_open_files};
use crate::report::{Recovered, Row, times};

const N_FILES: usize = 100;

at_each_door!(without_file_descriptors_streams_continue_nothing_spins_and_the_server_recovers);

fn without_file_descriptors_streams_continue_nothing_spins_and_the_server_recovers(door: Door) {
    // Longer than the crowd stays.
    let instance = door.instance(match door {
        Door::Rocket => "every = '100ms'",
        Door::Fanout => "every = '100ms'\nfanout.head_timeout = '10m'",
    });
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -n {N_FILES}; exec \"$0\""), ROLLCAST]);
    command.current_dir(instance.path());
    let mut server = instance.start_with(&mut command);
    let listeners: Vec<Listener> =
        (0..5).map(|_| Listener::start(instance.url("/stream/"), Behaviour::EAGER)).collect();
    for listener in &listeners {
        wait_for("a roll", || (listener.received().last() > 0).then_some(()));
    }
    let time = Duration::from_secs(2);
    let [before] = cpu_shares([server.pid()], time);

    let n_times = times(1, 10);
    let (mut exhausted, mut spin, mut recovered) = (0.0_f64, 1.0_f64, Duration::ZERO);
    for _ in 0..n_times {
        // More connections than descriptors, so that some wait to be accepted.
        let crowd: Vec<TcpStream> = (0..N_FILES + 20).map(|_| instance.connect()).collect();
        wait_for("all descriptors to be used", || {
            (n_open_files(server.pid()) >= N_FILES).then_some(())
        });
        let n_seen: Vec<i64> =
            listeners.iter().map(|listener| listener.received().last()).collect();
        // Control: a process that spins, at the same time, so that both share this machine.
        let mut spinning = Command::new("sh")
            .args(["-c", "while :; do :; done"])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let [share, spins] = cpu_shares([server.pid(), spinning.id()], time);
        spinning.kill().unwrap();
        spinning.wait().unwrap();
        assert!(
            share < before + spins / 2.0,
            "the server uses {share:.2} of a core, {before:.2} before, a spinning process {spins:.2}"
        );
        (exhausted, spin) = (exhausted.max(share), spin.min(spins));
        assert!(n_open_files(server.pid()) >= N_FILES, "not all descriptors are used any more");
        for (listener, n_seen) in listeners.iter().zip(n_seen) {
            wait_for("open streams to continue", || {
                (listener.received().last() > n_seen).then_some(())
            });
        }

        drop(crowd);
        let freed = Instant::now();
        for path in ["/", "/stream/"] {
            assert_eq!(http().head(instance.url(path)).call().unwrap().status(), 200, "{path}");
        }
        recovered = recovered.max(freed.elapsed());
    }
    assert!(recovered < Duration::from_secs(5), "the server answered after {recovered:?}");
    let newest = head(&instance);
    let mut logs = Vec::new();
    for listener in listeners {
        wait_for("a listener to catch up", || (listener.received().last() >= newest).then_some(()));
        let received = listener.stop();
        assert_eq!(received.opened.len(), 1, "an open stream was lost");
        logs.push(log_of(&received, 0));
    }
    server.stop();
    let stored = Stored::read(&instance);
    for log in &mut logs {
        log.settle(&stored);
        log.assert_is_whole("a listener");
    }
    println!(
        "CPU: {before:.3} of a core before, {exhausted:.3} without descriptors, {spin:.2} spinning"
    );
    Row {
        fault: "no file descriptors left",
        n_injected: n_times,
        n_lost: logs.iter().map(|log| log.n_lost).sum(),
        n_repeated: logs.iter().map(|log| log.n_repeated).sum(),
        recovered: Recovered::In(recovered),
        control: format!(
            "a process that spins uses {spin:.2} of a core, the server {exhausted:.2} \
             ({before:.2} before)"
        ),
        test: "descriptors",
    }
    .write_at(door);
}
