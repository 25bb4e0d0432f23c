use async_sse::{Event, decode};
use futures::{StreamExt, TryStreamExt};
use lab_adapters::{fail, report, url};

#[tokio::main]
async fn main() {
    let response = reqwest::get(url()).await.expect("a response");
    let body = response.bytes_stream().map_err(std::io::Error::other).into_async_read();
    let mut events = decode(body);
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Message(it)) => {
                let data = String::from_utf8_lossy(it.data());
                report(it.name(), &data, it.id().as_deref());
            }
            Ok(Event::Retry(_)) => {}
            Err(error) => return fail(error),
        }
    }
}
