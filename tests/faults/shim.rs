//! Control over the server's disk and clock: `shim.c` stands between the unmodified binary and the
//! system calls.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use tempfile::TempDir;

use crate::common::Instance;

/// Which calls fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calls {
    Read = 1,
    Write,
    Sync,
    Open,
    /// The sync of the folder, which makes file names durable.
    SyncFolder,
    /// A `stat` of a path.
    Stat,
    /// The rename of a checkpoint of the log, which reports success and happens 0.3 s later. Give it
    /// `lies` too.
    Rename,
}

/// How they fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// With EIO.
    Broken,
    /// With ENOSPC.
    Full,
    /// With EMFILE.
    TooMany,
    /// They read or write only half.
    Short,
    /// They succeed, after 0.3 s.
    Slow,
    /// They return when the fault ends.
    Hang,
}

/// A fault that starts with the call `first`, counted from 1 since its injection.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub calls: Calls,
    pub failure: Failure,
    pub first: u32,
    /// The number of calls until the next failure; `None` fails only one call.
    pub step: Option<u32>,
    /// A failed sync loses its unwritten pages, because Linux marks them clean.
    pub drops: bool,
    /// A failed sync reports success.
    pub lies: bool,
}

impl Fault {
    pub fn for_ever(calls: Calls, failure: Failure) -> Fault {
        Fault { calls, failure, first: 1, step: Some(1), drops: false, lies: false }
    }
}

pub struct Shim {
    folder: TempDir,
    control: File,
}

/// Offsets in `struct control`.
const KIND: u64 = 0;
const N_INJECTED: u64 = 20;
const CLOCK_OFFSET: u64 = 32;

impl Shim {
    pub fn new() -> Shim {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control");
        let control =
            OpenOptions::new().read(true).write(true).create_new(true).open(path).unwrap();
        control.set_len(4096).unwrap();
        Shim { folder, control }
    }

    /// The command that starts the server on this shim.
    pub fn command(&self, instance: &Instance) -> Command {
        let mut command = instance.command();
        let database = instance.path().canonicalize().unwrap().join("rolls.db");
        command
            .env("LD_PRELOAD", library())
            .env("SHIM_DATABASE", database)
            .env("SHIM_CONTROL", self.folder.path().join("control"));
        if self.record().exists() {
            command.env("SHIM_RECORD", self.record());
        }
        command
    }

    /// Makes servers that start from now on record their operations.
    pub fn start_recording(&self) {
        File::create(self.record()).unwrap();
    }

    pub fn record(&self) -> PathBuf {
        self.folder.path().join("record")
    }

    pub fn inject(&self, fault: Fault) {
        let Fault { calls, failure, first, step, drops, lies } = fault;
        // The numbers of `errno.h` on Linux.
        let error = match failure {
            Failure::Short => 0,
            Failure::Broken => 5,
            Failure::TooMany => 24,
            Failure::Full => 28,
            Failure::Slow => 1_000_000,
            Failure::Hang => 1_000_001,
        };
        let words = [error, first, step.unwrap_or(0), 0, 0, u32::from(drops), u32::from(lies)];
        for (n, word) in (1..).zip(words) {
            self.write(4 * n, &word.to_ne_bytes());
        }
        // Written last, because this activates the fault.
        self.write(KIND, &(calls as u32).to_ne_bytes());
    }

    /// Ends the fault.
    pub fn clear_fault(&self) {
        self.write(KIND, &0_u32.to_ne_bytes());
    }

    /// How many calls the current or last fault has failed.
    pub fn n_injected(&self) -> u32 {
        let mut word = [0; 4];
        self.control.read_exact_at(&mut word, N_INJECTED).unwrap();
        u32::from_ne_bytes(word)
    }

    /// Sets the server's wall clock this far ahead of the real time.
    pub fn put_clock_ahead(&self, by: Duration) {
        self.write(CLOCK_OFFSET, &i64::try_from(by.as_nanos()).unwrap().to_ne_bytes());
    }

    /// Sets the server's wall clock this far behind the real time.
    pub fn put_clock_back(&self, by: Duration) {
        self.write(CLOCK_OFFSET, &(-i64::try_from(by.as_nanos()).unwrap()).to_ne_bytes());
    }

    fn write(&self, at: u64, bytes: &[u8]) {
        self.control.write_all_at(bytes, at).unwrap();
    }
}

/// The path of the compiled shim. It is compiled once per test run.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let (draft, library) =
            (folder.join(format!("shim-{}.so", std::process::id())), folder.join("shim.so"));
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o"])
            .arg(&draft)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/faults/shim.c"))
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&compiled.stderr);
        assert!(compiled.status.success(), "the shim does not compile: {errors}");
        // Renamed atomically, because another run may use the library.
        fs::rename(&draft, &library).unwrap();
        library
    })
}
