use futures::StreamExt;
use lab_adapters::{fail, report, url};
use sse_stream::SseStream;

#[tokio::main]
async fn main() {
    let response = reqwest::get(url()).await.expect("a response");
    let mut events = SseStream::from_bytes_stream(response.bytes_stream());
    while let Some(event) = events.next().await {
        match event {
            // It gives the fields of each block, also of those without data. What they mean is left
            // to its user.
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
