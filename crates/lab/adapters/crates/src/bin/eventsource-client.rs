use eventsource_client::{Client, ClientBuilder, SSE};
use futures::StreamExt;
use lab_adapters::{fail, report, url};
use launchdarkly_sdk_transport::HyperTransport;

#[tokio::main]
async fn main() {
    let transport = HyperTransport::builder().build_http().expect("a transport");
    let builder = ClientBuilder::for_url(&url()).expect("an address");
    let mut events = builder.build_with_transport(transport).stream();
    while let Some(event) = events.next().await {
        match event {
            Ok(SSE::Event(it)) => report(&it.event_type, &it.data, it.id.as_deref()),
            Ok(_) => {}
            Err(error) => fail(error),
        }
    }
}
