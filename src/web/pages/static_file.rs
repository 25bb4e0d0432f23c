//! The route of the static files.

use std::path::PathBuf;

use rocket::fairing::AdHoc;
use rocket::{State, get, routes};

use crate::web::http::cached::Cached;
use crate::web::pages::view::Site;

/// Serves the static files of the managed [`Site`].
pub fn stage() -> AdHoc {
    AdHoc::on_ignite("static files", |rocket| async { rocket.mount("/static", routes![file]) })
}

/// A file at its path with or without a version.
///
/// The path is optional because Rocket logs a warning for each path that it refuses, such as `.x`.
/// Any stranger could fill the log with them.
#[get("/<path..>")]
fn file(path: Option<PathBuf>, site: &State<Site>) -> Option<Cached> {
    site.assets().find(path?.to_str()?)
}
