//! The offline page: one file that verifies proofs without a server.
//!
//! Its content depends only on the templates and the static files. Its script is that of `/verify`.

use crate::seeds::sha256;
use crate::text::hex;
use crate::web::pages::assets::Assets;
use crate::web::pages::source::SourceError;
use crate::web::pages::templates::Templates;

/// The script of `/verify`.
const SCRIPT: &str = "js/verify.js";
/// The style sheets of the page, in order.
const STYLES: [&str; 4] = ["css/tokens.css", "css/base.css", "css/controls.css", "css/proof.css"];

/// The offline page.
pub struct Offline {
    page: String,
    sha256: String,
}

impl Offline {
    /// Builds the page from the files of the site.
    ///
    /// # Errors
    ///
    /// The template has a mistake.
    pub fn build(templates: &Templates, assets: &Assets) -> Result<Offline, SourceError> {
        let mut context = tera::Context::new();
        context.insert("version", env!("CARGO_PKG_VERSION"));
        context.insert("script", &assets.text(SCRIPT).unwrap_or_default());
        let styles = STYLES.iter().filter_map(|path| assets.text(path));
        context.insert("style", &styles.collect::<String>());
        let page = templates.render("offline", &context)?;
        let sha256 = hex(&sha256(page.as_bytes()));
        Ok(Offline { page, sha256 })
    }

    pub fn page(&self) -> &str {
        &self.page
    }

    /// The SHA-256 of the page, as `sha256sum` prints it.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }
}
