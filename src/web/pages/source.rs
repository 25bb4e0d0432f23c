//! Where templates and static files come from: a folder, or the program itself.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use include_dir::{Dir, include_dir};

const TEMPLATES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/templates");
const STATIC_FILES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/static");

/// The files of a source by their path in it, such as `css/base.css`.
pub type Contents = BTreeMap<String, Cow<'static, [u8]>>;
/// When each file of a folder was changed, and its size in bytes, by its path in the folder. An edit
/// changes them.
pub type Stamps = BTreeMap<String, (SystemTime, u64)>;

/// Where files of one kind come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// The files that were built into the program.
    Embedded(&'static Dir<'static>),
    Folder(Folder),
}

/// A folder whose files are used instead of the built-in ones.
#[derive(Clone, Debug)]
pub struct Folder {
    pub path: PathBuf,
    /// The configuration key that names the folder.
    key: &'static str,
    symlinks: Symlinks,
}

/// What happens to a symbolic link inside a folder.
#[derive(Clone, Copy, Debug)]
enum Symlinks {
    Follow,
    /// A link could publish any file of the machine.
    Refuse,
}

/// Why a folder of templates or static files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("cannot read `{}`, of {source_name}", .path.display())]
    Unreadable {
        path: PathBuf,
        source_name: String,
        #[source]
        source: io::Error,
    },
    #[error(
        "expected files and folders, got the symbolic link `{}` in {source_name}; \
         links are not served, so put a copy of the file in its place", .link.display()
    )]
    Symlink { link: PathBuf, source_name: String },
    #[error(
        "expected the file `{file}`, which {used_by} needs, in {source_name}; \
         add it, or remove the key to use the built-in files"
    )]
    Missing { file: String, used_by: String, source_name: String },
    #[error("expected UTF-8 text in the template `{file}`, of {source_name}")]
    NotText { file: String, source_name: String },
    #[error("cannot use the templates of {source_name}")]
    Template {
        source_name: String,
        #[source]
        source: tera::Error,
    },
}

impl Source {
    /// Templates from the configured folder, if there is one.
    pub fn of_templates(configured: Option<&Path>) -> Source {
        Source::templates(configured.map(Path::to_path_buf).or_else(|| source_tree("templates")))
    }

    /// Static files from the configured folder, if there is one.
    pub fn of_static_files(configured: Option<&Path>) -> Source {
        Source::static_files(configured.map(Path::to_path_buf).or_else(|| source_tree("static")))
    }

    /// Templates from a folder, or the built-in ones.
    pub fn templates(folder: Option<PathBuf>) -> Source {
        let folder =
            folder.map(|path| Folder { path, key: "template_dir", symlinks: Symlinks::Follow });
        folder.map_or(Source::Embedded(&TEMPLATES), Source::Folder)
    }

    /// Static files from a folder, or the built-in ones.
    pub fn static_files(folder: Option<PathBuf>) -> Source {
        let folder = folder.map(|path| Folder {
            path,
            key: "rollcast.static_dir",
            symlinks: Symlinks::Refuse,
        });
        folder.map_or(Source::Embedded(&STATIC_FILES), Source::Folder)
    }

    /// Reads all files except hidden ones.
    ///
    /// # Errors
    ///
    /// A file or folder cannot be read, or the folder holds a symbolic link that must not be
    /// followed.
    pub fn read(&self) -> Result<Contents, SourceError> {
        let mut contents = Contents::new();
        match self {
            Source::Embedded(dir) => read_embedded(dir, &mut contents),
            Source::Folder(folder) => self.visit(folder, &folder.path, "", &mut |file, path| {
                contents.insert(file, Cow::Owned(fs::read(path)?));
                Ok(())
            })?,
        }
        Ok(contents)
    }

    /// The stamps of all files that [`Source::read`] reads from a folder. None for built-in files.
    ///
    /// # Errors
    ///
    /// Those of [`Source::read`].
    pub fn stamps(&self) -> Result<Stamps, SourceError> {
        let mut stamps = Stamps::new();
        if let Source::Folder(folder) = self {
            self.visit(folder, &folder.path, "", &mut |file, path| {
                let metadata = fs::metadata(path)?;
                stamps.insert(file, (metadata.modified()?, metadata.len()));
                Ok(())
            })?;
        }
        Ok(stamps)
    }

    /// Calls `found` with each file: its path in the source, and its path.
    fn visit(
        &self,
        of: &Folder,
        folder: &Path,
        prefix: &str,
        found: &mut dyn FnMut(String, &Path) -> io::Result<()>,
    ) -> Result<(), SourceError> {
        let unreadable = |path: &Path| {
            let (path, source_name) = (path.to_path_buf(), self.name());
            move |source| SourceError::Unreadable { path, source_name, source }
        };
        for entry in fs::read_dir(folder).map_err(unreadable(folder))? {
            let entry = entry.map_err(unreadable(folder))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') {
                continue;
            }
            let (path, file) = (entry.path(), format!("{prefix}{name}"));
            let mut kind = entry.file_type().map_err(unreadable(&path))?;
            if kind.is_symlink() {
                match of.symlinks {
                    Symlinks::Follow => {
                        kind = fs::metadata(&path).map_err(unreadable(&path))?.file_type();
                    }
                    Symlinks::Refuse => {
                        let source_name = self.name();
                        return Err(SourceError::Symlink { link: path, source_name });
                    }
                }
            }
            if kind.is_dir() {
                self.visit(of, &path, &format!("{file}/"), found)?;
            } else if kind.is_file() {
                found(file, &path).map_err(unreadable(&path))?;
            }
        }
        Ok(())
    }

    /// The source in words, with the key that names it.
    pub fn name(&self) -> String {
        match self {
            Source::Embedded(_) => "the built-in files".into(),
            Source::Folder(Folder { path, key, .. }) => {
                format!("the folder `{}` (key `{key}`)", path.display())
            }
        }
    }

    /// An error about a file that is not there.
    pub fn missing(&self, file: &str, used_by: &str) -> SourceError {
        let (file, used_by) = (file.into(), used_by.into());
        SourceError::Missing { file, used_by, source_name: self.name() }
    }
}

/// In a debug build, the folder of the checkout: templates and static files can be edited while
/// the server runs. The server's user may have no access to the checkout.
#[cfg(debug_assertions)]
fn source_tree(name: &str) -> Option<PathBuf> {
    Some(Path::new(env!("CARGO_MANIFEST_DIR")).join(name))
        .filter(|folder| fs::read_dir(folder).is_ok())
}

/// A release does not contain the path of the checkout that it was built in.
#[cfg(not(debug_assertions))]
fn source_tree(_name: &str) -> Option<PathBuf> {
    None
}

fn read_embedded(dir: &'static Dir<'static>, contents: &mut Contents) {
    for file in dir.files() {
        let path = file.path().to_str().expect("an embedded file has a UTF-8 name");
        if !path.rsplit('/').next().unwrap_or(path).starts_with('.') {
            contents.insert(path.into(), Cow::Borrowed(file.contents()));
        }
    }
    for dir in dir.dirs() {
        read_embedded(dir, contents);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::os::unix::fs::symlink;

    fn names(contents: &Contents) -> Vec<&str> {
        contents.keys().map(String::as_str).collect()
    }

    #[test]
    fn without_a_folder_the_files_come_from_the_program() {
        let tree = |name| Some(Path::new(env!("CARGO_MANIFEST_DIR")).join(name));
        let pairs = [
            (Source::templates(tree("templates")), Source::templates(None)),
            (Source::static_files(tree("static")), Source::static_files(None)),
        ];
        for (of_folder, built_in) in pairs {
            let [of_folder, built_in] = [of_folder, built_in].map(|source| source.read());
            let (of_folder, built_in) = (of_folder.expect("a folder"), built_in.expect("files"));
            assert!(!built_in.is_empty());
            assert_eq!(names(&built_in), names(&of_folder));
            assert!(built_in == of_folder, "the built-in files differ from those in the tree");
            let is_borrowed = |content: &Cow<'static, [u8]>| matches!(content, Cow::Borrowed(_));
            assert!(built_in.values().all(is_borrowed) && !of_folder.values().any(is_borrowed));
        }
    }

    #[test]
    fn a_symbolic_link_is_refused_among_static_files_and_followed_among_templates() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("css")).expect("a folder");
        fs::write(folder.path().join("secret"), "secret").expect("a file");
        symlink("../secret", folder.path().join("css/link.css")).expect("a link");
        let path = Some(folder.path().to_path_buf());
        let error = Source::static_files(path.clone()).read().expect_err("a link").to_string();
        for text in ["css/link.css`", "rollcast.static_dir", "copy"] {
            assert!(error.contains(text), "expected {text} in {error}");
        }
        let contents = Source::templates(path).read().expect("a link to a file");
        assert_eq!(names(&contents), ["css/link.css", "secret"]);
    }

    #[test]
    fn hidden_files_are_left_out_and_a_missing_folder_is_an_error_with_its_key() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join(".hidden"), "").expect("a file");
        let source = |path| Source::templates(Some(path));
        assert!(source(folder.path().into()).read().expect("a folder").is_empty());
        let error = source(folder.path().join("none")).read().expect_err("no folder").to_string();
        assert!(error.contains("/none`") && error.contains("template_dir"), "{error}");
    }
}
