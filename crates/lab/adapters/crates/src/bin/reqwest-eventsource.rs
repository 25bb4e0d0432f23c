use futures::StreamExt;
use lab_adapters::{fail, report, url};
use reqwest_eventsource::{Event, EventSource};

#[tokio::main]
async fn main() {
    let mut source = EventSource::get(url());
    while let Some(event) = source.next().await {
        match event {
            Ok(Event::Open) => {}
            Ok(Event::Message(it)) => report(&it.event, &it.data, Some(&it.id)),
            Err(error) => fail(error),
        }
    }
}
