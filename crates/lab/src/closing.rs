//! Closes a connection so that the client receives every byte that was sent.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long the client may take to close a connection that the server has ended.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Shuts the connection down, and waits at most 2 s until the client closes it. Closing a socket with
/// unread bytes resets the connection. The client could then lose bytes that were already sent.
pub async fn close(stream: &mut TcpStream) {
    let _ = stream.shutdown().await;
    let _ = timeout(CLOSE_TIMEOUT, closed(stream)).await;
}

/// Waits until the client closes the connection.
pub async fn closed(reader: &mut (impl AsyncRead + Unpin)) {
    let mut bytes = [0; 512];
    while !matches!(reader.read(&mut bytes).await, Ok(0) | Err(_)) {}
}
