//! The adapter of the event-stream lab for this crate, see `docs/lab.md`: it opens one stream and
//! prints its events.
//!
//! ```sh
//! cargo build -p event-stream --example lab
//! rollcast lab run --no-reconnect --known FILE -- target/debug/examples/lab
//! ```

use std::error::Error;
use std::time::Duration;

use event_stream::client::{Certificates, Client, Config, Method, Request};
use event_stream::parser::Frame;
use event_stream::proxy::Proxies;
use serde_json::json;

pub fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::var("LAB_URL")?.parse()?;
    let client = Client::new(Config {
        user_agent: "event-stream".into(),
        certificates: Certificates::Public,
        max_redirects: 10,
        proxies: Proxies::from_environment(),
    });
    let response = client.send(&Request {
        method: Method::Get,
        url: &url,
        headers: &[("Accept", "text/event-stream")],
        timeout: Duration::from_secs(10),
        body_timeout: None,
    })?;
    if !response.is_event_stream() {
        let seen = format!("{} {}", response.status, response.content_type());
        return Err(format!("expected an event stream, got {seen}").into());
    }
    let mut stream = response.into_stream();
    let mut last_event_id = String::new();
    while let Some(frames) = stream.next_frames()? {
        for frame in frames {
            if let Some(id) = frame.id() {
                last_event_id = id.into();
            }
            if let Frame::Event { name, data, .. } = frame {
                println!("{}", json!({ "event": name, "data": data, "id": last_event_id }));
            }
        }
    }
    Ok(())
}
