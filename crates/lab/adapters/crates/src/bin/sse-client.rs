use std::thread;

use lab_adapters::{fail, names, report, url};
use sse_client::EventSource;

fn main() {
    let names = names();
    // It connects at once, and drops events that arrive before a listener is added.
    let source = EventSource::new(&url()).expect("an address");
    for name in names {
        // Without an id of its own, an event has the id "".
        source.add_event_listener(&name, |it| {
            report(&it.type_, &it.data, Some(&*it.id).filter(|id| !id.is_empty()));
        });
    }
    // Its own errors are events, too.
    source.add_event_listener("error", |it| fail(it.data));
    loop {
        thread::park();
    }
}
