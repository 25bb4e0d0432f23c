//! Firefox's own remote protocol: each message is its length in bytes, a colon, and JSON.
//! <https://firefox-source-docs.mozilla.org/testing/marionette/Protocol.html>

use anyhow::{Context, bail};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// A session, on which one command at a time is sent and answered.
pub struct Marionette {
    stream: BufReader<TcpStream>,
    n_sent: u64,
    pub capabilities: Value,
}

impl Marionette {
    /// Begins a session with the browser that listens on this port.
    pub async fn connect(port: u16) -> anyhow::Result<Marionette> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.context("cannot connect")?;
        let stream = BufReader::new(stream);
        let mut marionette = Marionette { stream, n_sent: 0, capabilities: Value::Null };
        marionette.receive().await?;
        let mut session = marionette.ask("WebDriver:NewSession", json!({})).await?;
        marionette.capabilities = session["capabilities"].take();
        Ok(marionette)
    }

    /// Loads a page.
    pub async fn goto(&mut self, url: &str) -> anyhow::Result<()> {
        self.ask("WebDriver:Navigate", json!({ "url": url })).await?;
        Ok(())
    }

    /// Runs a script in the page, and returns its result.
    pub async fn execute(&mut self, script: &str) -> anyhow::Result<Value> {
        let script = json!({ "script": script, "args": [] });
        Ok(self.ask("WebDriver:ExecuteScript", script).await?["value"].take())
    }

    /// Sends `[0, number, command, parameters]`, and receives `[1, number, error, result]`.
    async fn ask(&mut self, command: &str, parameters: Value) -> anyhow::Result<Value> {
        self.n_sent += 1;
        let message = json!([0, self.n_sent, command, parameters]).to_string();
        let message = format!("{}:{message}", message.len());
        self.stream.write_all(message.as_bytes()).await?;
        let mut answer = self.receive().await?;
        match answer[2].take() {
            Value::Null => Ok(answer[3].take()),
            error => bail!("{command} failed: {error}"),
        }
    }

    async fn receive(&mut self) -> anyhow::Result<Value> {
        let mut length = 0;
        loop {
            match self.stream.read_u8().await? {
                b':' => break,
                digit @ b'0'..=b'9' => length = length * 10 + usize::from(digit - b'0'),
                other => bail!("expected a length, got byte {other}"),
            }
        }
        let mut message = vec![0; length];
        self.stream.read_exact(&mut message).await?;
        Ok(serde_json::from_slice(&message)?)
    }
}
