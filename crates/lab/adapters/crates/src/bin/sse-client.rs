use lab_adapters::{fail, tell, url};
use sse_client::EventSource;

fn main() {
    let source = EventSource::new(&url()).expect("an address");
    for event in source.receiver().iter() {
        // Its own errors are events, too.
        match &*event.type_ {
            "error" => fail(event.data),
            name => tell(name, &event.data, None),
        }
    }
}
