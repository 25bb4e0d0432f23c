//! Copies of delivered files with the few edits that a test needs. Every edit must find the text that
//! it replaces, so that a changed file fails the test.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The project's folder.
pub fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Files by name.
pub struct Files(BTreeMap<String, String>);

impl Files {
    /// The files of a folder in `deploy/`.
    pub fn read(folder: &str) -> Files {
        let folder = project().join("deploy").join(folder);
        let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let named = files.filter(|path| path.is_file()).map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read_to_string(&path).unwrap())
        });
        Files(named.collect())
    }

    /// Replaces all occurrences of `old` in a file. Panics if there is none.
    pub fn replace(&mut self, name: &str, old: &str, new: &str) {
        let text = self.0.get_mut(name).unwrap_or_else(|| panic!("there is no file `{name}`"));
        assert!(text.contains(old), "expected `{old}` in `{name}`:\n{text}");
        *text = text.replace(old, new);
    }

    /// Writes all files into a folder.
    pub fn write(&self, folder: &Path) {
        fs::create_dir_all(folder).unwrap();
        for (name, text) in &self.0 {
            fs::write(folder.join(name), text).unwrap();
        }
    }

    /// Writes one file.
    pub fn write_one(&self, name: &str, to: impl Into<PathBuf>) {
        let to = to.into();
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::write(to, &self.0[name]).unwrap();
    }
}
