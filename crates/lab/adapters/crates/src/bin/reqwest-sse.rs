use futures::StreamExt;
use lab_adapters::{fail, report, url};
use reqwest_sse::EventSource;

#[tokio::main]
async fn main() {
    let response = reqwest_13::get(url()).await.expect("a response");
    let mut events = match response.events().await {
        Ok(events) => events,
        Err(error) => return fail(error),
    };
    while let Some(event) = events.next().await {
        match event {
            Ok(it) => {
                report(&it.event_type, &it.data, Some(it.last_event_id.as_deref().unwrap_or("")))
            }
            Err(error) => return fail(error),
        }
    }
}
