//! The page that verifies proofs, `/verify`, and the offline page.

use rocket::http::Header;
use rocket::{Responder, State, get};
use rocket_dyn_templates::context;

use crate::web::pages::Pages;
use crate::web::pages::offline::Offline;
use crate::web::pages::templates::Page;

/// The offline page, as a file.
const OFFLINE: &str = "/verify/offline.html";

#[get("/verify")]
pub fn page(pages: &State<Pages>, offline: &State<Offline>) -> Page {
    let key = pages.store.key().to_string();
    let offline = context! { href: OFFLINE, sha256: offline.sha256() };
    Page::render("verify", context! { title: "Verify a roll", key, offline })
}

/// A page that browsers save instead of showing it.
#[derive(Responder)]
#[response(content_type = "html")]
pub struct Download {
    page: String,
    disposition: Header<'static>,
}

/// The offline page. Its scripts are inline, and the `Content-Security-Policy` of the server's
/// responses forbids inline scripts. So it works only as a file.
#[get("/verify/offline.html")]
pub fn file(offline: &State<Offline>) -> Download {
    let disposition = "attachment; filename=\"rollcast-verify.html\"";
    let disposition = Header::new("Content-Disposition", disposition);
    Download { page: offline.page().to_owned(), disposition }
}
