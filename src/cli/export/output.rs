//! Where an export goes: standard output, or a file that appears when it is complete.

use std::fs::{self, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::Context;
use tempfile::NamedTempFile;

use crate::app;
use crate::cli::Failure;
use crate::store::Existing;

/// An export that is being written.
pub enum Output {
    /// Standard output.
    Standard(BufWriter<io::Stdout>),
    /// A file.
    File(BufWriter<Draft>),
}

/// A file under a random name in the folder of its target. It is created exclusively, so two
/// exports never share one and no link is followed, and removed when dropped.
pub struct Draft {
    draft: NamedTempFile,
    target: PathBuf,
    existing: Existing,
}

impl Output {
    /// Writes to `file`, or to standard output.
    ///
    /// # Errors
    ///
    /// The file exists and must not be replaced, or its folder cannot be written to: exit code 2.
    pub fn new(file: Option<&Path>, existing: Existing) -> Result<Output, Failure> {
        let Some(file) = file else { return Ok(Output::Standard(BufWriter::new(io::stdout()))) };
        let draft =
            Draft::create(file, existing).map_err(|error| Failure { error, exit_code: 2 })?;
        remove_on_signal(draft.draft.path().to_path_buf())?;
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
            Output::File(out) => out.into_inner()?.finish(),
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Output::Standard(out) => out.write(bytes),
            Output::File(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Output::Standard(out) => out.flush(),
            Output::File(out) => out.flush(),
        }
    }
}

impl Draft {
    fn create(target: &Path, existing: Existing) -> anyhow::Result<Draft> {
        if existing == Existing::Refuse && target.exists() {
            anyhow::bail!("`{}` exists; --force replaces it", target.display());
        }
        let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty());
        let mut prefix = target.file_name().context("expected the name of a file")?.to_owned();
        prefix.push(".");
        let draft = tempfile::Builder::new()
            .prefix(&prefix)
            .suffix(".part")
            // The umask applies, as to any file that a command creates.
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(folder.unwrap_or(Path::new(".")));
        let draft = draft.with_context(|| format!("cannot create `{}`", target.display()))?;
        Ok(Draft { draft, target: target.to_path_buf(), existing })
    }

    /// Makes the content durable, then gives the file its name in one step.
    fn finish(self) -> io::Result<()> {
        self.draft.as_file().sync_all()?;
        let named = match self.existing {
            Existing::Replace => self.draft.persist(&self.target),
            Existing::Refuse => self.draft.persist_noclobber(&self.target),
        };
        named.map(drop).map_err(|error| error.error)
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.draft.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.draft.flush()
    }
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("a folder");
        let name = |entry: io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
        let mut names: Vec<String> =
            entries.map(|entry| name(entry).into_string().expect("text")).collect();
        names.sort();
        names
    }

    fn write(target: &Path, existing: Existing, text: &str) -> io::Result<()> {
        let mut draft = Draft::create(target, existing).map_err(io::Error::other)?;
        draft.write_all(text.as_bytes())?;
        draft.finish()
    }

    #[test]
    fn a_file_appears_when_it_is_complete_and_nothing_remains_of_an_incomplete_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = folder.path().join("rolls.csv");
        let mut draft = Draft::create(&target, Existing::Refuse).expect("a draft");
        draft.write_all(b"half").expect("room");
        let names_meanwhile = names(folder.path());
        assert!(names_meanwhile.len() == 1 && names_meanwhile[0].ends_with(".part"));
        drop(draft);
        assert_eq!(names(folder.path()), [""; 0]);

        write(&target, Existing::Refuse, "whole").expect("written");
        assert_eq!(names(folder.path()), ["rolls.csv"]);
        assert_eq!(fs::read_to_string(&target).expect("text"), "whole");
    }

    #[test]
    fn an_existing_file_is_replaced_only_by_force_also_if_it_appears_meanwhile() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = folder.path().join("rolls.csv");
        let late = Draft::create(&target, Existing::Refuse).expect("a draft");
        write(&target, Existing::Refuse, "first").expect("written");
        let error = late.finish().expect_err("the file exists by now");
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        let error =
            write(&target, Existing::Refuse, "second").expect_err("the file exists").to_string();
        assert!(error.contains("--force"), "{error}");
        assert_eq!(fs::read_to_string(&target).expect("text"), "first");
        write(&target, Existing::Replace, "third").expect("replaced");
        assert_eq!(fs::read_to_string(&target).expect("text"), "third");
        assert_eq!(names(folder.path()), ["rolls.csv"]);
    }

    #[test]
    fn two_drafts_of_one_file_do_not_mix_and_other_files_are_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        fs::write(path("precious"), "mine").expect("written");
        symlink(path("precious"), path("rolls.csv.part")).expect("a link");
        let mut drafts = ["a", "b"]
            .map(|_| Draft::create(&path("rolls.csv"), Existing::Replace).expect("a draft"));
        for round in 0..3 {
            for (n, draft) in drafts.iter_mut().enumerate() {
                write!(draft, "{n}{round} ").expect("room");
            }
        }
        let [first, second] = drafts;
        first.finish().expect("written");
        assert_eq!(fs::read_to_string(path("rolls.csv")).expect("text"), "00 01 02 ");
        second.finish().expect("written");
        assert_eq!(fs::read_to_string(path("rolls.csv")).expect("text"), "10 11 12 ");
        assert_eq!(fs::read_to_string(path("precious")).expect("text"), "mine");
        assert_eq!(names(folder.path()), ["precious", "rolls.csv", "rolls.csv.part"]);
    }
}
