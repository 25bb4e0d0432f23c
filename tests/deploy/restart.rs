//! A restart under load: what two hundred listeners behind nginx notice of it.

use std::time::{Duration, Instant};

use crate::common::listener::{Listener, Manner, Seen, Story};
use crate::common::{House, wait_for};
use crate::files::Files;
use crate::nginx::{HEADERS, Nginx};
use crate::proxy::head;
use crate::supervisor::Supervisor;

/// Seconds.
const MOST_WITHOUT_A_ROLL: f64 = 12.0;
const LAST_STREAM_BACK: Duration = Duration::from_secs(25);

/// Restarts the server under `n_listeners` and says what they missed; `Err` names the first
/// listener to whom a roll is missing or came twice, or who gave up.
fn restart(n_listeners: usize, edit: impl FnOnce(&mut Files)) -> Result<Vec<Duration>, String> {
    let house = House::new("every = '250ms'\nmax_streams_per_address = 1000");
    let supervisor = Supervisor::start(&house);
    supervisor.wait_until("RUNNING");
    let nginx = Nginx::start_with(house.port(), edit);
    let listeners: Vec<Listener> =
        (0..n_listeners).map(|_| Listener::start(nginx.url("/stream/"), Manner::HONEST)).collect();
    let all = |what: &str, done: &dyn Fn(&Story) -> bool| {
        wait_for(what, || {
            let mut stories = listeners.iter().map(Listener::story);
            stories.all(|story| story.gave_up.is_some() || done(&story)).then_some(())
        });
    };
    all("every listener to hear", &|story| story.rolls.len() > 2);

    let told = Instant::now();
    let (code, said) = supervisor.ctl(&["restart", "rollcast"]);
    assert_eq!(code, 0, "{said}");
    println!("supervisorctl restart took {:?}", told.elapsed());
    all("every listener to be back", &|story| story.opened.last().is_some_and(|at| *at > told));
    let last = head(&house) + 4;
    all("every listener to hear again", &|story| story.last() >= last);
    listeners.iter().for_each(Listener::tell_to_stop);
    drop(nginx);
    let mut back = Vec::new();
    for (n, listener) in listeners.into_iter().enumerate() {
        let story = listener.stop();
        if let Some(why) = &story.gave_up {
            return Err(format!("listener {n} gave up: {why}"));
        }
        let rolls: Vec<i64> = story.rolls.iter().map(Seen::number).collect();
        if let Some(pair) = rolls.windows(2).find(|pair| pair[1] != pair[0] + 1) {
            return Err(format!("listener {n} heard roll {} after roll {}", pair[1], pair[0]));
        }
        back.extend(story.opened.iter().filter(|at| **at > told).map(|at| *at - told));
    }
    let longest = "select max(pause) from (select (julianday(rolled_at)
                   - julianday(lag(rolled_at) over (order by id))) * 86400 as pause from rolls)";
    let pause: f64 = house.sqlite().query_row(longest, [], |row| row.get(0)).unwrap();
    println!("no roll was made for {pause:.2} s");
    // The guide names 1.2 s; a slow machine may take longer.
    assert!(pause < MOST_WITHOUT_A_ROLL, "no roll was made for {pause:.2} s");
    back.sort();
    Ok(back)
}

#[test]
fn a_restart_under_two_hundred_streams_loses_no_roll_and_they_come_back_spread_out() {
    let back = restart(200, |_| {}).unwrap();
    let (first, median, last) = (back[0], back[back.len() / 2], back[back.len() - 1]);
    println!("{} streams back: first {first:?}, half {median:?}, last {last:?}", back.len());
    // The guide names 5.2 s.
    assert!(last < LAST_STREAM_BACK, "the last stream was back after {last:?}");
    // A browser is told 1 to 5 s.
    assert!(last - first > Duration::from_secs(2), "{back:?}");
    let second = Duration::from_secs(1);
    let busiest =
        back.iter().map(|at| back.iter().filter(|b| (*at..*at + second).contains(b)).count());
    let busiest = busiest.max().unwrap();
    println!("at most {busiest} in one second");
    assert!(
        busiest < back.len() * 3 / 5,
        "{busiest} of {} came in one second: {back:?}",
        back.len()
    );
}

#[test]
fn a_proxy_that_drops_the_last_event_id_is_found_out() {
    let lost = restart(10, |files| {
        files.replace(
            HEADERS,
            "proxy_set_header Host $host;",
            "proxy_set_header Last-Event-ID \"\";",
        );
    });
    assert!(lost.unwrap_err().contains("heard roll"));
}
