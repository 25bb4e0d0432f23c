//! Where an export goes: standard output, a device or pipe, or a file that appears when it is
//! complete.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::Context;

use crate::app;
use crate::cli::Failure;
use crate::draft::{self, Draft, DraftError, Existing};

/// An export that is being written.
pub enum Output {
    /// Standard output.
    Standard(BufWriter<io::Stdout>),
    /// A device or pipe, which is written to and never replaced.
    Device(BufWriter<File>),
    /// A file.
    File(BufWriter<Draft>),
}

impl Output {
    /// Writes to `file`; to standard output for `-` or without a file. `refuse_own` refuses a file
    /// that must not be replaced even if told.
    ///
    /// # Errors
    ///
    /// The file exists and must not be replaced, or its folder cannot be written to: exit code 2.
    /// Another process is writing it: exit code 1.
    pub fn new<E: Into<anyhow::Error>>(
        file: Option<&Path>,
        existing: Existing,
        refuse_own: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<Output, Failure> {
        let standard = || Ok(Output::Standard(BufWriter::new(io::stdout())));
        let Some(file) = file else { return standard() };
        // A redirected standard output may be a file, which must not be replaced either.
        if [Path::new("-"), Path::new("/dev/stdout")].contains(&file) {
            return standard();
        }
        if is_device(file) {
            let device = OpenOptions::new().write(true).open(file);
            let device = device.with_context(|| format!("cannot write to `{}`", file.display()));
            return Ok(Output::Device(BufWriter::new(device.map_err(Failure::usage)?)));
        }
        let to = draft::resolve(file).map_err(failure)?;
        refuse_own(&to).map_err(Failure::usage)?;
        // The umask applies, as to any file that a command creates.
        let draft = Draft::create(&to, existing, 0o666).map_err(failure)?;
        remove_on_signal(draft.path().to_path_buf())?;
        Ok(Output::File(BufWriter::new(draft)))
    }

    /// Writes the buffered bytes. A file then gets its name.
    ///
    /// # Errors
    ///
    /// Something cannot be written, or the file exists by now and must not be replaced.
    pub fn finish(self) -> io::Result<()> {
        match self {
            Output::Standard(mut out) => out.flush(),
            Output::Device(mut out) => out.flush(),
            Output::File(out) => out.into_inner()?.publish().map_err(io::Error::other),
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Output::Standard(out) => out.write(bytes),
            Output::Device(out) => out.write(bytes),
            Output::File(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Output::Standard(out) => out.flush(),
            Output::Device(out) => out.flush(),
            Output::File(out) => out.flush(),
        }
    }
}

/// Whether the path leads to a terminal, another character device, or a named pipe. Folders,
/// sockets and disks are refused like anything else that is no file.
fn is_device(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|metadata| {
        let file_type = metadata.file_type();
        file_type.is_char_device() || file_type.is_fifo()
    })
}

fn failure(error: DraftError) -> Failure {
    let exit_code = if matches!(error, DraftError::Busy(_)) { 1 } else { 2 };
    Failure { error: error.into(), exit_code }
}

/// On a signal removes the draft and ends the program.
fn remove_on_signal(draft: PathBuf) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the runtime")?;
    let stop = {
        let _inside = runtime.enter();
        app::stop_signal().context("cannot listen for signals")?
    };
    thread::spawn(move || {
        let name = runtime.block_on(stop);
        let _ = fs::remove_file(&draft);
        let _ = writeln!(io::stderr(), "rollcast: {name} received, nothing was written");
        std::process::exit(1);
    });
    Ok(())
}
