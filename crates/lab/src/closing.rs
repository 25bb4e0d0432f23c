//! Closes a connection without losing what was sent.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long the client may take to close a connection that the server has ended.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Ends the connection, and waits until the client closes it, too. A socket that is closed with unread
/// bytes resets its connection, and the client might lose what was sent.
pub async fn close(stream: &mut TcpStream) {
    let _ = stream.shutdown().await;
    let _ = timeout(CLOSE_TIMEOUT, closed(stream)).await;
}

/// Waits until the client closes the connection.
pub async fn closed(reader: &mut (impl AsyncRead + Unpin)) {
    let mut bytes = [0; 512];
    while !matches!(reader.read(&mut bytes).await, Ok(0) | Err(_)) {}
}
