//! The templates of the pages: checked before the server starts, then handed to Rocket.

use std::collections::BTreeMap;
use std::path::Path;

use rocket::Request;
use rocket::fairing::Fairing;
use rocket::figment::Figment;
use rocket::figment::providers::Serialized;
use rocket::http::ContentType;
use rocket::response::{self, Responder};
use rocket_dyn_templates::Template;
use serde::Serialize;
use serde_json::Value;
use tera::Tera;

use crate::web::pages::references::References;
use crate::web::pages::source::{Source, SourceError};
use crate::web::pages::view::{Site, SiteView};

/// The templates that are rendered. All others are parts of these.
const PAGES: [&str; 15] = [
    "about",
    "developers",
    "die_stats",
    "draw",
    "embed",
    "error",
    "events",
    "fleet",
    "index",
    "offline",
    "roll",
    "rolls",
    "screen",
    "stats",
    "verify",
];
/// Rocket wants a folder of templates, or any other path that exists. This one never holds any.
const NO_FOLDER: &str = "/dev/null";

/// Templates that are known to be complete and without errors.
pub struct Templates {
    source: Source,
    /// Parsed once, because parsing takes a large part of the time of a start.
    tera: Tera,
    references: BTreeMap<String, References>,
}

impl Templates {
    /// Reads and checks the templates.
    ///
    /// # Errors
    ///
    /// The folder or a file cannot be read; a page, or a part that a template includes, is missing;
    /// a template has a syntax error.
    pub fn load(configured: Option<&Path>) -> Result<Templates, SourceError> {
        Templates::read(Source::of_templates(configured))
    }

    /// The same with templates from `source`.
    ///
    /// # Errors
    ///
    /// Those of [`Templates::load`].
    pub fn read(source: Source) -> Result<Templates, SourceError> {
        let wrong = |error| SourceError::Template { source_name: source.name(), source: error };
        let (mut parsed, mut references) = (Tera::default(), BTreeMap::new());
        for (file, content) in source.read()? {
            let Some(name) = template_name(&file) else { continue };
            let Ok(text) = String::from_utf8(content.into_owned()) else {
                return Err(SourceError::NotText { file, source_name: source.name() });
            };
            let template = parse(&name, &text).map_err(wrong)?;
            references.insert(name.clone(), References::of(&template));
            parsed.templates.insert(name, template);
        }
        check(&source, &references)?;
        // Also connects each template with the one that it extends.
        let mut tera = Tera::default();
        tera.extend(&parsed).map_err(wrong)?;
        Ok(Templates { source, tera, references })
    }

    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The static files that the templates link, each with a template that links it.
    pub fn linked_files(&self) -> impl Iterator<Item = (&str, &str)> {
        let of_each = self.references.iter();
        of_each.flat_map(|(name, of)| of.files.iter().map(move |file| (&**file, &**name)))
    }

    /// Renders a template that needs no server.
    ///
    /// # Errors
    ///
    /// The template has a mistake.
    pub fn render(&self, name: &str, context: &tera::Context) -> Result<String, SourceError> {
        let mut tera = self.tera.clone();
        tera.autoescape_on(vec![""]);
        tera.set_escape_fn(escape);
        let source_name = self.source.name();
        tera.render(name, context).map_err(|source| SourceError::Template { source_name, source })
    }

    /// Rocket's configuration with the folder of templates.
    pub fn configure(&self, rocket: Figment) -> Figment {
        let folder = match &self.source {
            Source::Folder(folder) => &folder.path,
            Source::Embedded(_) => Path::new(NO_FOLDER),
        };
        // Global, so that it holds in every profile.
        rocket.merge(Serialized::global("template_dir", folder))
    }

    /// Renders the templates. In a debug build Rocket reads a folder again when it changes.
    pub fn stage(self) -> impl Fairing {
        let embedded = match self.source {
            Source::Embedded(_) => self.tera,
            Source::Folder(_) => Tera::default(),
        };
        Template::try_custom(move |engines| {
            // Rocket's names of templates have no ending by which Tera would know HTML.
            engines.tera.autoescape_on(vec![""]);
            engines.tera.set_escape_fn(escape);
            Ok(engines.tera.extend(&embedded)?)
        })
    }
}

/// Fails if the text has a syntax error.
fn parse(name: &str, text: &str) -> tera::Result<tera::Template> {
    tera::Template::new(name, None, text)
        .map_err(|error| tera::Error::chain(format!("Failed to parse '{name}'"), error))
}

/// Fails if a page, or a template that another one needs, is missing.
fn check(source: &Source, references: &BTreeMap<String, References>) -> Result<(), SourceError> {
    let has = |name: &str| references.contains_key(name);
    let missing = |name: &str, used_by: &str| source.missing(&format!("{name}.html.tera"), used_by);
    if let Some(page) = PAGES.into_iter().find(|page| !has(page)) {
        return Err(missing(page, "rollcast"));
    }
    for (name, of) in references {
        let is_missing = |names: &&Vec<String>| !names.iter().any(|name| has(name));
        if let Some(names) = of.templates.iter().find(is_missing) {
            let names = names.join(".html.tera` or `");
            return Err(missing(&names, &format!("the template `{name}`")));
        }
    }
    Ok(())
}

/// The name by which Rocket knows a template: `roll.html.tera` is `roll`.
fn template_name(file: &str) -> Option<String> {
    let name = file.strip_suffix(".tera")?;
    let name = name.rsplit_once('.').filter(|(_, kind)| !kind.contains('/'));
    name.map(|(name, _)| name.to_string())
}

/// Escapes text for HTML. Tera's own function also escapes slashes, which makes every address in a
/// page's source unreadable and protects from nothing here, because all attributes are quoted.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#x27;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A page, rendered when it is sent.
#[derive(Debug)]
pub struct Page {
    template: &'static str,
    context: Value,
    content_type: ContentType,
}

/// What a template gets: the context of its page, and what all pages have.
#[derive(Serialize)]
struct Complete {
    site: SiteView,
    #[serde(flatten)]
    page: Value,
}

impl Page {
    /// One of the [`PAGES`]. `context` must be a struct or a map. The page itself adds `site`.
    pub fn render(template: &'static str, context: impl Serialize) -> Page {
        debug_assert!(PAGES.contains(&template), "`{template}` is not one of {PAGES:?}");
        let context = serde_json::to_value(context).expect("a struct with names as keys");
        Page { template, context, content_type: ContentType::HTML }
    }

    /// The same page in another format than HTML.
    pub fn with_type(self, content_type: ContentType) -> Page {
        Page { content_type, ..self }
    }
}

impl<'r> Responder<'r, 'static> for Page {
    fn respond_to(self, request: &'r Request<'_>) -> response::Result<'static> {
        let site = request.rocket().state::<Site>().expect("the site is managed");
        let complete = Complete { site: site.view(request), page: self.context };
        // Rocket takes the type from a file's name, and a built-in template has no file.
        (self.content_type, Template::render(self.template, complete)).respond_to(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::fs;

    use tempfile::TempDir;

    /// A copy of the templates in the source tree.
    fn copy() -> TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates");
        for entry in fs::read_dir(from).expect("templates") {
            let entry = entry.expect("a template");
            fs::copy(entry.path(), folder.path().join(entry.file_name())).expect("a copy");
        }
        folder
    }

    fn refusal(folder: &TempDir) -> String {
        let error = Templates::load(Some(folder.path())).err().expect("an error");
        format!("{:#}", anyhow::Error::new(error))
    }

    #[test]
    fn each_template_is_a_page_or_a_part_of_one() {
        let templates = Templates::read(Source::templates(None)).expect("the templates");
        let names: Vec<&str> = templates.references.keys().map(String::as_str).collect();
        let pages: Vec<&str> = names
            .iter()
            .copied()
            .filter(|name| !name.starts_with('_') && *name != "base")
            .collect();
        assert_eq!(pages, PAGES);
        let all = templates.references.values().flat_map(|of| of.templates.iter().flatten());
        let all: Vec<&str> = all.map(String::as_str).collect();
        for part in names.iter().filter(|name| !pages.contains(name)) {
            assert!(all.contains(part), "no template uses `{part}`");
        }
    }

    #[test]
    fn a_folder_that_lacks_a_page_or_a_part_is_refused() {
        for (file, used_by) in [
            ("stats.html.tera", "rollcast"),
            ("base.html.tera", "`about`"),
            ("_prose.html.tera", "`_field_error`"),
        ] {
            let folder = copy();
            fs::remove_file(folder.path().join(file)).expect("a template");
            let error = refusal(&folder);
            let path = folder.path().display().to_string();
            for text in [file, used_by, &path, "`template_dir`", "remove the key"] {
                assert!(error.contains(text), "expected {text} in {error}");
            }
        }
    }

    #[test]
    fn a_template_with_a_mistake_is_refused_with_its_name_and_place() {
        let folder = copy();
        fs::write(folder.path().join("roll.html.tera"), "{% for roll in %}").expect("a template");
        let error = refusal(&folder);
        for text in ["roll", "1:", "template_dir"] {
            assert!(error.contains(text), "expected {text} in {error}");
        }
        fs::write(folder.path().join("roll.html.tera"), [0xff]).expect("a template");
        assert!(refusal(&folder).contains("UTF-8"), "{}", refusal(&folder));
    }

    #[test]
    fn a_part_that_may_be_missing_or_is_only_text_does_not_stop_the_start() {
        let with = |text: &str| {
            let folder = copy();
            fs::write(folder.path().join("roll.html.tera"), text).expect("a template");
            folder
        };
        for text in [
            r#"{% include "x" ignore missing %}"#,
            r#"{# {% include "x" %} #}"#,
            r#"{% raw %}{% include "x" %}{% endraw %}"#,
            r#"{% include ["x", "_die"] %}"#,
        ] {
            let folder = with(text);
            let loaded = Templates::load(Some(folder.path()));
            assert!(loaded.is_ok(), "{text}: {}", refusal(&folder));
        }
        for (text, file) in [
            (r#"{% include "x" %}"#, "`x.html.tera`"),
            (r#"{% include 'x' %}"#, "`x.html.tera`"),
            (r#"{% include ["x", "y"] %}"#, "`x.html.tera` or `y.html.tera`"),
            (r#"{% import "x" as x %}"#, "`x.html.tera`"),
        ] {
            let error = refusal(&with(text));
            let expected = format!("the file {file}, which the template `roll` needs");
            assert!(error.contains(&expected), "{text}: {error}");
        }
    }

    #[test]
    fn a_template_has_the_name_that_rocket_gives_it() {
        let table = [
            ("roll.html.tera", Some("roll")),
            ("sub/roll.html.tera", Some("sub/roll")),
            ("roll.html", None),
            ("a.b/roll.tera", None),
        ];
        for (file, name) in table {
            assert_eq!(template_name(file).as_deref(), name, "{file}");
        }
    }

    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(escape("<a b='c'>&\"/"), "&lt;a b=&#x27;c&#x27;&gt;&amp;&quot;/");
    }
}
