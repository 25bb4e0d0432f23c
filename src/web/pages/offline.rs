//! The offline page: one file that verifies proofs without a server.
//!
//! Its content depends only on the templates and the static files. Its script joins the modules of
//! `/verify`. Each module comes once, after the modules that it imports, in the order of its
//! imports. Lines that begin with `import ` are left out, as is `export ` at the beginning of a
//! line.

use crate::seeds::sha256;
use crate::text::hex;
use crate::web::pages::assets::Assets;
use crate::web::pages::source::SourceError;
use crate::web::pages::templates::Templates;

/// The module that `/verify` loads.
const ENTRY: &str = "js/verify.js";
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
        context.insert("script", &script(assets));
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

/// All modules as one script.
fn script(assets: &Assets) -> String {
    let mut modules = Vec::new();
    add_modules(assets, ENTRY.into(), &mut modules);
    let texts = modules.iter().filter_map(|path| assets.text(path));
    let mut script = String::new();
    for text in texts {
        for line in text.split_inclusive('\n').filter(|line| !line.starts_with("import ")) {
            script.push_str(line.strip_prefix("export ").unwrap_or(line));
        }
    }
    script
}

/// Adds a module after those that it imports.
fn add_modules(assets: &Assets, path: String, modules: &mut Vec<String>) {
    if modules.contains(&path) {
        return;
    }
    for import in assets.imports(&path) {
        add_modules(assets, import, modules);
    }
    if !modules.contains(&path) {
        modules.push(path);
    }
}
