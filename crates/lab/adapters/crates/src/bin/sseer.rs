use futures::StreamExt;
use lab_adapters::{fail, report, url};
use sseer::EventSource;
use sseer::reqwest::StreamEvent;

#[tokio::main]
async fn main() {
    let request = reqwest_13::Client::new().get(url());
    let mut source = EventSource::new(request).expect("a request that can be repeated");
    while let Some(event) = source.next().await {
        match event {
            Ok(StreamEvent::Open) => {}
            Ok(StreamEvent::Event(it)) => report(&it.event, &it.data, Some(&it.id)),
            Err(error) => fail(error),
        }
    }
}
