//! Static files: scripts, style sheets and the icon, read into memory once.
//!
//! A page links them under a path that names their content, so a browser may keep them for good
//! and an update is seen at once. In a debug build they are read anew for every request, as
//! templates are.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rocket::fairing::AdHoc;
use rocket::http::{ContentType, Status};
use rocket::response::{self, Responder, Response};
use rocket::{Request, State, get, routes};

use crate::web::http::etag;

/// The files of one moment.
struct Files {
    by_path: BTreeMap<String, Arc<File>>,
    /// Names the content of all of them.
    version: String,
}

struct File {
    content: Vec<u8>,
    content_type: ContentType,
    /// Names the content, in quotes.
    etag: String,
}

/// Why there are no static files.
#[derive(Debug, thiserror::Error)]
#[error("cannot read static files in `{}`", .folder.display())]
pub struct AssetsError {
    folder: PathBuf,
    #[source]
    source: io::Error,
}

/// The folder of static files.
pub struct Assets {
    folder: PathBuf,
    loaded: Arc<Files>,
}

pub fn stage(assets: Assets) -> AdHoc {
    AdHoc::on_ignite("static files", |rocket| async {
        rocket.manage(assets).mount("/static", routes![file])
    })
}

impl Assets {
    /// Reads all files at and below `folder`. Links and hidden files are left out.
    pub fn load(folder: &Path) -> Result<Assets, AssetsError> {
        let loaded = Arc::new(Files::read(folder)?);
        Ok(Assets { folder: folder.to_path_buf(), loaded })
    }

    /// Where pages find the files: `/static/<version>`.
    pub fn base(&self) -> String {
        format!("/static/{}", self.current().version)
    }

    fn current(&self) -> Arc<Files> {
        if cfg!(debug_assertions) {
            // A file that is just being written: the ones read at the start will do.
            Files::read(&self.folder).map_or_else(|_| self.loaded.clone(), Arc::new)
        } else {
            self.loaded.clone()
        }
    }
}

impl Files {
    fn read(folder: &Path) -> Result<Files, AssetsError> {
        let mut by_path = BTreeMap::new();
        read_folder(folder, "", &mut by_path)?;
        let etags: Vec<_> = by_path.iter().map(|(path, file)| (path, &file.etag)).collect();
        let version = etag::name(&etags);
        Ok(Files { by_path, version })
    }
}

fn read_folder(
    folder: &Path,
    prefix: &str,
    by_path: &mut BTreeMap<String, Arc<File>>,
) -> Result<(), AssetsError> {
    let cannot_read = |source| AssetsError { folder: folder.to_path_buf(), source };
    for entry in fs::read_dir(folder).map_err(cannot_read)? {
        let entry = entry.map_err(cannot_read)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type().map_err(cannot_read)?;
        let path = format!("{prefix}{name}");
        if name.starts_with('.') {
            continue;
        }
        if kind.is_dir() {
            read_folder(&entry.path(), &format!("{path}/"), by_path)?;
        } else if kind.is_file() {
            let content = fs::read(entry.path()).map_err(cannot_read)?;
            let content_type = Path::new(&name)
                .extension()
                .and_then(|extension| ContentType::from_extension(extension.to_str()?))
                .unwrap_or(ContentType::Binary);
            let etag = etag::of(&content);
            by_path.insert(path, Arc::new(File { content, content_type, etag }));
        }
    }
    Ok(())
}

/// A file and how long it may be kept.
struct Served {
    file: Arc<File>,
    cache: &'static str,
}

/// `<version>/<path>` as pages link it, or the file's own path, for people and for a proxy that
/// knows no version.
#[get("/<path..>")]
fn file(path: PathBuf, assets: &State<Assets>) -> Option<Served> {
    let files = assets.current();
    let path = path.to_str().unwrap_or_default();
    let (version, rest) = path.split_once('/').unwrap_or_default();
    let (file, cache) = match files.by_path.get(rest) {
        Some(file) if version == files.version => (file, "public, max-age=31536000, immutable"),
        // A page of before an update asks for what is no longer there: it gets the file of
        // today, but not for good.
        Some(file) => (file, "no-cache"),
        None => (files.by_path.get(path)?, "no-cache"),
    };
    Some(Served { file: file.clone(), cache })
}

impl<'r> Responder<'r, 'static> for Served {
    fn respond_to(self, request: &'r Request<'_>) -> response::Result<'static> {
        let Served { file, cache } = self;
        let mut response = Response::build();
        response.raw_header("Cache-Control", cache).raw_header("ETag", file.etag.clone());
        if etag::is_known(request, &file.etag) {
            return response.status(Status::NotModified).ok();
        }
        let content = file.content.clone();
        response
            .header(file.content_type.clone())
            .sized_body(content.len(), io::Cursor::new(content))
            .ok()
    }
}
