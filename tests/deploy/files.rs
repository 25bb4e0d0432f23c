//! Copies of delivered files, changed as little as a test needs: every change must find what it
//! changes, so that a test cannot go past a file that has moved on.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The project's own folder.
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

    /// Changes all places of `old` in a file, of which there must be one.
    pub fn replace(&mut self, name: &str, old: &str, new: &str) {
        let text = self.0.get_mut(name).unwrap_or_else(|| panic!("there is no file `{name}`"));
        assert!(text.contains(old), "expected `{old}` in `{name}`:\n{text}");
        *text = text.replace(old, new);
    }

    /// Writes them into a folder.
    pub fn write(&self, folder: &Path) {
        fs::create_dir_all(folder).unwrap();
        for (name, text) in &self.0 {
            fs::write(folder.join(name), text).unwrap();
        }
    }

    /// Writes one of them.
    pub fn write_one(&self, name: &str, to: impl Into<PathBuf>) {
        let to = to.into();
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::write(to, &self.0[name]).unwrap();
    }
}
