//! The thread that owns the writer. Reads and disk probes use the runtime's blocking threads, so
//! a read that hangs never keeps a roll from being stored.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::store::server_lock::ServerLock;
use crate::store::writer::Writer;

/// How long dropping the store waits for the writer's connection to close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

type Job = Box<dyn FnOnce(&mut Writer) + Send>;

/// Runs jobs one after the other on the thread that owns the writer.
pub struct WriterThread {
    /// `None` only while this is dropped.
    jobs: Option<Sender<Job>>,
    /// Disconnected once the writer is closed.
    closed: Mutex<Receiver<()>>,
}

impl WriterThread {
    /// Starts the thread. It keeps `lock` until the writer is closed, so that no other server
    /// opens the file before.
    ///
    /// # Errors
    ///
    /// The thread cannot be started.
    pub fn start(mut writer: Writer, lock: Arc<ServerLock>) -> io::Result<WriterThread> {
        let (jobs, due) = mpsc::channel::<Job>();
        let (closing, closed) = mpsc::channel();
        thread::Builder::new().name("writer".into()).spawn(move || {
            while let Some(job) = next(&due, &mut writer) {
                job(&mut writer);
            }
            drop(writer);
            drop(lock);
            drop::<Sender<()>>(closing);
        })?;
        Ok(WriterThread { jobs: Some(jobs), closed: Mutex::new(closed) })
    }

    /// Runs `work` after all jobs before it and returns its result. A panic in `work` continues
    /// in the caller.
    ///
    /// The work runs to its end even if the caller stops waiting.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Writer) -> T + Send + 'static,
    ) -> T {
        let (reply, result) = oneshot::channel::<Result<T, Box<dyn Any + Send>>>();
        let job: Job = Box::new(move |writer| {
            let result = catch_unwind(AssertUnwindSafe(|| work(writer)));
            // An error means that the caller stopped waiting.
            let _ = reply.send(result);
        });
        let jobs = self.jobs.as_ref().expect("set until this is dropped");
        jobs.send(job).expect("the thread runs until this is dropped");
        match result.await.expect("a job always replies") {
            Ok(result) => result,
            Err(panic) => resume_unwind(panic),
        }
    }
}

/// The next job; `None` when there will be none. Saves the statistics whenever that is due.
fn next(jobs: &Receiver<Job>, writer: &mut Writer) -> Option<Job> {
    loop {
        let Some(wait) = writer.save_due_in() else { return jobs.recv().ok() };
        if !wait.is_zero() {
            match jobs.recv_timeout(wait) {
                Ok(job) => return Some(job),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
        writer.save_statistics();
    }
}

impl Drop for WriterThread {
    /// Waits for the writer to close, so that the file can be opened again at once, unless the
    /// disk hangs.
    fn drop(&mut self) {
        self.jobs = None;
        let closed = self.closed.get_mut().unwrap_or_else(PoisonError::into_inner);
        let _ = closed.recv_timeout(CLOSE_TIMEOUT);
    }
}
