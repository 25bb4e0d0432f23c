//! The page `/about`: the operator, the drawing of the dice, and the guarantees.

use rocket::{State, get};
use serde::Serialize;

use crate::config::AboutConfig;
use crate::roll::RollId;
use crate::web::http::error::HttpError;
use crate::web::pages::templates::Page;
use crate::web::pages::{Pages, links};

/// The template `about`.
#[derive(Serialize)]
struct AboutView {
    title: &'static str,
    description: &'static str,
    operator: Option<String>,
    contact: Option<Contact>,
    source: Option<String>,
    /// The newest roll; `None` before the first.
    newest: Option<Newest>,
    /// The key of the log of rolls.
    key: String,
}

#[derive(Serialize)]
struct Contact {
    href: String,
    /// The address as people write it: without `mailto:` or `tel:`.
    text: String,
}

#[derive(Serialize)]
struct Newest {
    id: i64,
    href: String,
}

/// The page about the site.
///
/// # Errors
///
/// The history cannot be read.
#[get("/about")]
pub async fn page(about: &State<AboutConfig>, pages: &State<Pages>) -> Result<Page, HttpError> {
    let head = pages.store.kept().await?.head.id;
    let AboutConfig { operator, contact, source } = about.inner().clone();
    let view = AboutView {
        title: "About",
        description: "Who runs these dice, how they are drawn, what is promised, and what is not.",
        operator,
        contact: contact.map(Contact::from),
        source,
        newest: (head > RollId::BEFORE_FIRST)
            .then(|| Newest { id: head.0, href: links::roll(head) }),
        key: pages.store.key().to_string(),
    };
    Ok(Page::render("about", view))
}

impl From<String> for Contact {
    fn from(href: String) -> Contact {
        let text = href.strip_prefix("mailto:").or_else(|| href.strip_prefix("tel:"));
        Contact { text: text.unwrap_or(&href).into(), href }
    }
}
