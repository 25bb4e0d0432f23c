use futures::StreamExt;
use lab_adapters::{fail, tell, url};
use sse_stream::SseStream;

#[tokio::main]
async fn main() {
    let response = reqwest::get(url()).await.expect("a response");
    let mut events = SseStream::from_bytes_stream(response.bytes_stream());
    while let Some(event) = events.next().await {
        match event {
            // It also gives blocks without data.
            Ok(it) if it.data.is_none() => {}
            Ok(it) => {
                let data = it.data.unwrap_or_default();
                tell(&it.event.unwrap_or_default(), &data, it.id.as_deref());
            }
            Err(error) => return fail(error),
        }
    }
}
