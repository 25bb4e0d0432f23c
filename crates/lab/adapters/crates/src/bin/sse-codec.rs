use futures::{StreamExt, TryStreamExt};
use lab_adapters::{fail, report, url};
use sse_codec::{Event, decode_stream};

#[tokio::main]
async fn main() {
    let response = reqwest::get(url()).await.expect("a response");
    let body = response.bytes_stream().map_err(std::io::Error::other).into_async_read();
    let mut events = decode_stream(body);
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Message { id, event, data }) => report(&event, &data, id.as_deref()),
            Ok(Event::Retry { .. }) => {}
            Err(error) => return fail(error),
        }
    }
}
