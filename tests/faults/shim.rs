//! The server's disk and clock, in the hands of a test: `shim.c` between the unmodified binary and
//! the system's calls.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use tempfile::TempDir;

use crate::common::House;

/// Which calls fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calls {
    Read = 1,
    Write,
    Sync,
    Open,
    /// Of the folder: what makes names durable.
    SyncFolder,
    /// Of stat, at a path.
    Look,
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
    /// They return only when the fault ends.
    Hang,
}

/// From the call `first` on (counted from 1, from this moment).
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub calls: Calls,
    pub failure: Failure,
    pub first: u32,
    /// How many calls later again; `None` is never.
    pub step: Option<u32>,
    /// What a failed sync did not write is gone: Linux calls those pages clean.
    pub drops: bool,
    /// The failed sync says that it succeeded.
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
const CLOCK_OFF: u64 = 32;

impl Shim {
    pub fn new() -> Shim {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control");
        let control =
            OpenOptions::new().read(true).write(true).create_new(true).open(path).unwrap();
        control.set_len(4096).unwrap();
        Shim { folder, control }
    }

    /// The house's server, with its disk and clock in our hands.
    pub fn command(&self, house: &House) -> Command {
        let mut command = house.command();
        let database = house.path().canonicalize().unwrap().join("rolls.db");
        command
            .env("LD_PRELOAD", library())
            .env("SHIM_DATABASE", database)
            .env("SHIM_CONTROL", self.folder.path().join("control"));
        if self.record().exists() {
            command.env("SHIM_RECORD", self.record());
        }
        command
    }

    /// From now on servers record what they do.
    pub fn start_recording(&self) {
        File::create(self.record()).unwrap();
    }

    pub fn record(&self) -> PathBuf {
        self.folder.path().join("record")
    }

    pub fn inject(&self, fault: Fault) {
        let Fault { calls, failure, first, step, drops, lies } = fault;
        // As of `errno.h` on Linux.
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
        // Last: from here on it is in force.
        self.write(KIND, &(calls as u32).to_ne_bytes());
    }

    /// Ends the fault.
    pub fn mend(&self) {
        self.write(KIND, &0_u32.to_ne_bytes());
    }

    /// How many calls have failed of the fault that is, or was, in force.
    pub fn n_injected(&self) -> u32 {
        let mut word = [0; 4];
        self.control.read_exact_at(&mut word, N_INJECTED).unwrap();
        u32::from_ne_bytes(word)
    }

    /// Puts the time of day off, ahead or back.
    pub fn put_clock_ahead(&self, by: Duration) {
        self.write(CLOCK_OFF, &i64::try_from(by.as_nanos()).unwrap().to_ne_bytes());
    }

    pub fn put_clock_back(&self, by: Duration) {
        self.write(CLOCK_OFF, &(-i64::try_from(by.as_nanos()).unwrap()).to_ne_bytes());
    }

    fn write(&self, at: u64, bytes: &[u8]) {
        self.control.write_all_at(bytes, at).unwrap();
    }
}

/// The library, compiled once a run.
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
        let said = String::from_utf8_lossy(&compiled.stderr);
        assert!(compiled.status.success(), "the shim does not compile: {said}");
        // Whole at once: another run may be using it.
        fs::rename(&draft, &library).unwrap();
        library
    })
}
