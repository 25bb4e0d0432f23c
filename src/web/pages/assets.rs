//! Static files: scripts, style sheets and icons, read into memory once. Scripts and style sheets
//! are served together with the files that they import.
//!
//! A page links them under a path that names their content. So a browser may keep them forever,
//! and still sees an update at once. In a debug build a folder is read again at the first request
//! after one of its files changed, as templates are.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rocket::http::ContentType;

use crate::web::http::cached::Cached;
use crate::web::http::etag;
use crate::web::pages::joined::{imports, joined};
use crate::web::pages::source::{Contents, Source, SourceError, Stamps};
use crate::web::pages::templates::Templates;

/// Values of `Cache-Control`.
const REVALIDATE: &str = "no-cache";
const FOREVER: &str = "public, max-age=31536000, immutable";

/// Files that were read at the same time.
struct Files {
    by_path: BTreeMap<String, File>,
    /// A hash of the content of all of them.
    version: String,
    /// The stamps of the files in the folder.
    stamps: Stamps,
}

struct File {
    cached: Cached,
    /// The files that it imports, by their path.
    imports: Vec<String>,
}

/// The static files.
pub struct Assets {
    source: Source,
    loaded: Arc<Files>,
    /// The files of the newest request. Only a debug build reads files after the start.
    newest: Mutex<Arc<Files>>,
}

impl Assets {
    /// Reads all files. Checks that they include every file that `templates` link, and every file
    /// that a script or a style sheet imports.
    ///
    /// # Errors
    ///
    /// The folder or a file cannot be read; the folder holds a symbolic link; a linked or imported
    /// file is missing.
    pub fn load(configured: Option<&Path>, templates: &Templates) -> Result<Assets, SourceError> {
        Assets::read(Source::of_static_files(configured), templates)
    }

    /// The same with files from `source`.
    ///
    /// # Errors
    ///
    /// Those of [`Assets::load`].
    pub fn read(source: Source, templates: &Templates) -> Result<Assets, SourceError> {
        let loaded = Arc::new(Files::read(&source)?);
        let linked = templates.linked_files();
        let mut needed: Vec<(String, String)> = linked
            .map(|(file, template)| (file.into(), format!("the template `{template}`")))
            .collect();
        let mut found = BTreeSet::new();
        while let Some((path, used_by)) = needed.pop() {
            let file = loaded.by_path.get(&path).ok_or_else(|| source.missing(&path, &used_by))?;
            if found.insert(path.clone()) {
                let imports = file.imports.iter().cloned();
                needed.extend(imports.map(|imported| (imported, format!("the file `{path}`"))));
            }
        }
        let newest = Mutex::new(loaded.clone());
        Ok(Assets { source, loaded, newest })
    }

    pub fn source(&self) -> &Source {
        &self.source
    }

    /// A hash of the content of all files, which changes when a file does.
    pub fn version(&self) -> String {
        self.current().version.clone()
    }

    /// The file at a path, as pages link it, under the current version; or at its own path, for
    /// people and for proxies, which do not know the version.
    pub fn find(&self, path: &str) -> Option<Cached> {
        let files = self.current();
        let (file, control) = files.find(path)?;
        Some(file.cached.clone().with_control(control))
    }

    /// The text of a file with those that it imports, if there is one.
    pub fn text(&self, path: &str) -> Option<String> {
        let file = self.loaded.by_path.get(path)?;
        Some(String::from_utf8_lossy(file.cached.content()).into_owned())
    }

    fn current(&self) -> Arc<Files> {
        match &self.source {
            Source::Folder(_) if cfg!(debug_assertions) => self.newest(),
            _ => self.loaded.clone(),
        }
    }

    /// Reads the files again if one was changed, added or removed since the last request.
    fn newest(&self) -> Arc<Files> {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let is_changed = self.source.stamps().is_ok_and(|stamps| stamps != newest.stamps);
        // A folder may be unreadable for a moment while an editor changes it. Then the files of the
        // last request are used.
        if is_changed && let Ok(files) = Files::read(&self.source) {
            *newest = Arc::new(files);
        }
        newest.clone()
    }
}

impl Files {
    fn read(source: &Source) -> Result<Files, SourceError> {
        // Before the content: a file that changes in between has another stamp at the next request.
        let stamps = source.stamps()?;
        let contents = source.read()?;
        let by_path: BTreeMap<String, File> =
            contents.keys().map(|path| File::entry(path, &contents)).collect();
        let etags: Vec<_> = by_path.iter().map(|(path, file)| (path, file.cached.etag())).collect();
        let version = etag::content_hash(&etags);
        Ok(Files { by_path, version, stamps })
    }

    /// The file at `<version>/<path>`, as pages link it, or at its own path; and how long a browser
    /// may keep it.
    fn find(&self, path: &str) -> Option<(&File, &'static str)> {
        if let Some(file) = self.by_path.get(path) {
            return Some((file, REVALIDATE));
        }
        let (version, path) = path.split_once('/')?;
        let control = match version {
            version if version == self.version => FOREVER,
            // A page that was loaded before an update gets the file of today, but not forever.
            version if is_version(version) => REVALIDATE,
            _ => return None,
        };
        Some((self.by_path.get(path)?, control))
    }
}

impl File {
    /// The file at a path of `contents`, joined with those that it imports.
    fn entry(path: &str, contents: &Contents) -> (String, File) {
        let content_type = Path::new(path)
            .extension()
            .and_then(|extension| ContentType::from_extension(extension.to_str()?))
            .unwrap_or(ContentType::Binary);
        let source = &contents[path];
        let imports = imports(path, &String::from_utf8_lossy(source));
        let whole = joined(path, contents);
        let content = whole.map_or_else(|| source.clone(), |text| Cow::Owned(text.into_bytes()));
        (path.into(), File { cached: Cached::new(content, content_type, REVALIDATE), imports })
    }
}

/// Whether a part of a path looks like [`Assets::version`], of this or another release.
fn is_version(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(debug_assertions)]
    use std::time::{Duration, SystemTime};
    use std::{fs, ptr};

    fn files(names: &[&str]) -> Files {
        let content = |name: &&str| (name.to_string(), Cow::Borrowed(&b"content"[..]));
        let contents: Contents = names.iter().map(content).collect();
        let by_path = names.iter().map(|name| File::entry(name, &contents)).collect();
        Files { by_path, version: "0123456789abcdef".into(), stamps: Stamps::new() }
    }

    #[test]
    fn an_exact_path_comes_before_a_version() {
        let files = files(&["a.css", "sub/b.css", "0000000000000000/a.css"]);
        let table = [
            ("a.css", Some(REVALIDATE)),
            ("sub/b.css", Some(REVALIDATE)),
            ("0123456789abcdef/a.css", Some(FOREVER)),
            ("0123456789abcdef/sub/b.css", Some(FOREVER)),
            ("fedcba9876543210/a.css", Some(REVALIDATE)),
            ("0000000000000000/a.css", Some(REVALIDATE)),
            ("sub/a.css", None),
            ("x/a.css", None),
            ("0123456789ABCDEF/a.css", None),
            ("0123456789abcde/a.css", None),
            ("0123456789abcdef/none.css", None),
            ("0123456789abcdef/0123456789abcdef/a.css", None),
            ("", None),
        ];
        for (path, control) in table {
            assert_eq!(files.find(path).map(|(_, control)| control), control, "{path}");
        }
        let (exact, _) = files.find("0000000000000000/a.css").expect("a file");
        assert!(ptr::eq(exact, &files.by_path["0000000000000000/a.css"]));
    }

    #[test]
    fn a_version_changes_with_the_name_and_the_content_of_a_file() {
        let read = |name: &str, content: &str| {
            let folder = tempfile::tempdir().expect("a folder");
            fs::write(folder.path().join(name), content).expect("a file");
            let source = Source::static_files(Some(folder.path().into()));
            Files::read(&source).expect("files").version
        };
        let version = read("a.css", "content");
        assert!(is_version(&version), "{version}");
        assert_eq!(read("a.css", "content"), version);
        assert_ne!(read("b.css", "content"), version);
        assert_ne!(read("a.css", "Content"), version);
    }

    #[cfg(debug_assertions)]
    #[test]
    fn a_debug_build_reads_a_folder_again_only_after_a_change() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str| folder.path().join(name);
        fs::write(file("a.txt"), "a").expect("a file");
        let source = Source::static_files(Some(folder.path().into()));
        let loaded = Arc::new(Files::read(&source).expect("files"));
        let newest = Mutex::new(loaded.clone());
        let assets = Assets { source, loaded, newest };
        let content = |path: &str| {
            let content = assets.find(path)?.content().to_vec();
            Some(String::from_utf8(content).expect("text"))
        };

        assert!(Arc::ptr_eq(&assets.current(), &assets.loaded), "read again without a change");
        fs::write(file("a.txt"), "edited").expect("a file");
        assert_eq!(content("a.txt").as_deref(), Some("edited"));
        assert_ne!(assets.version(), assets.loaded.version);
        assert!(Arc::ptr_eq(&assets.current(), &assets.current()), "read again without a change");

        let later = SystemTime::now() + Duration::from_secs(1);
        fs::write(file("a.txt"), "Edited").expect("a file of the same size");
        fs::File::open(file("a.txt"))
            .and_then(|file| file.set_modified(later))
            .expect("a new time");
        assert_eq!(content("a.txt").as_deref(), Some("Edited"));

        fs::create_dir(file("sub")).expect("a folder");
        fs::write(file("sub/b.txt"), "b").expect("a file");
        assert_eq!(content("sub/b.txt").as_deref(), Some("b"));
        fs::remove_file(file("a.txt")).expect("a file");
        assert_eq!(content("a.txt"), None);
        fs::remove_dir_all(folder.path()).expect("a folder");
        assert_eq!(content("sub/b.txt").as_deref(), Some("b"), "the last readable files");
    }
}
