use futures::StreamExt;
use lab_adapters::{fail, report, url};
use sse_stream::SseStream;

#[tokio::main]
async fn main() {
    let response = reqwest::get(url()).await.expect("a response");
    let mut events = SseStream::from_bytes_stream(response.bytes_stream());
    while let Some(event) = events.next().await {
        match event {
            // It returns the fields of each block, also of blocks without data. The calling code
            // interprets them.
            Ok(it) => {
                let event = it.event.filter(|event| !event.is_empty());
                if let Some(data) = it.data {
                    report(event.as_deref().unwrap_or("message"), &data, it.id.as_deref());
                }
            }
            Err(error) => return fail(error),
        }
    }
}
