//! Stores for tests.

use std::path::Path;

use rusqlite::Connection;
use tempfile::TempDir;
use tokio::sync::OwnedSemaphorePermit;

use crate::config::{Keep, StoreConfig};
use crate::roll::Roll;
use crate::store::Store;

impl StoreConfig {
    /// A store in this folder.
    pub fn example(folder: &Path) -> StoreConfig {
        StoreConfig {
            database: folder.join("rolls.db"),
            secret: None,
            origin: None,
            keep: Keep::Forever,
            n_reserve_bytes: 0,
        }
    }
}

impl Store {
    /// A store of the signed [example](Roll::example) rolls `1..=n_rolls`, and the folder that it is in.
    pub async fn with_rolls(n_rolls: i64) -> (TempDir, Store) {
        let folder = tempfile::tempdir().expect("a folder");
        let config = StoreConfig::example(folder.path());
        let store = Store::open(&config).await.expect("a store");
        store.apply((1..=n_rolls).map(Roll::example).collect()).await.expect("space");
        store.sign().await.expect("space");
        (folder, store)
    }

    /// The permits of all long queries, so that further ones fail as
    /// [`StoreError::Busy`](crate::store::StoreError::Busy).
    pub async fn all_long_permits(&self) -> Vec<OwnedSemaphorePermit> {
        self.0.reads.all_long_permits().await
    }

    /// Holds the write lock as another program would, until the connection is dropped.
    pub fn lock_as_another_program(&self) -> Connection {
        let connection = Connection::open(&self.0.path).expect("the database");
        connection.execute_batch("begin immediate").expect("the lock");
        connection
    }
}
