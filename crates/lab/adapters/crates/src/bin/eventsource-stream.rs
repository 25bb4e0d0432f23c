use eventsource_stream::Eventsource;
use futures::StreamExt;
use lab_adapters::{fail, report, url};

#[tokio::main]
async fn main() {
    let response = reqwest::get(url()).await.expect("a response");
    let mut events = response.bytes_stream().eventsource();
    while let Some(event) = events.next().await {
        match event {
            Ok(it) => report(&it.event, &it.data, Some(&it.id)),
            Err(error) => return fail(error),
        }
    }
}
