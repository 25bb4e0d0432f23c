//! Joins a script with the modules that it imports, and a style sheet with those that it imports.
//! Leaves out comments.
//!
//! Each script and style sheet that a page links is served together with the files that it imports.
//! Another server can serve the files as they are, only with more requests. Write each import and
//! each export on one line, in one of these forms:
//!
//! ```js
//! import { a, b as c } from "./module.js";
//! export function f() {}    // also async function, class, const
//! ```
//!
//! ```css
//! @import "./sheet.css";
//! ```
//!
//! A line that begins with `//` or `/*` begins a comment, so no such line may be within a string.

use crate::web::pages::source::Contents;

/// The files that a file imports, in their order, by their path.
pub fn imports(path: &str, text: &str) -> Vec<String> {
    let Some(kind) = kind(path) else { return Vec::new() };
    text.lines().filter_map(|line| import(kind, path, line)).collect()
}

/// The file that a line of the file at `path` imports, by its path.
fn import(kind: Kind, path: &str, line: &str) -> Option<String> {
    let rest = match kind {
        Kind::Script => line.strip_prefix("import ")?.split_once(" from \"")?.1,
        Kind::Style => line.strip_prefix("@import \"")?,
    };
    resolved(path, rest.trim_end().strip_suffix("\";")?)
}

/// The path that `name` means in the file at `path`: `js/zone.js` of `../zone.js` in
/// `js/proof/shown.js`. `None` if the name does not begin with a dot.
fn resolved(path: &str, name: &str) -> Option<String> {
    let mut folders: Vec<&str> = path.split('/').collect();
    folders.pop();
    let mut name = name.strip_prefix("./").or(Some(name).filter(|name| name.starts_with("../")))?;
    while let Some(rest) = name.strip_prefix("../") {
        folders.pop()?;
        name = rest;
    }
    folders.push(name);
    Some(folders.join("/"))
}

/// The text of a script or style sheet with those that it imports, without comments. `None` for any
/// other file, and if an imported file is missing.
pub fn joined(path: &str, files: &Contents) -> Option<String> {
    let kind = kind(path)?;
    let mut order = Vec::new();
    add_imports(path, files, &mut order, &mut Vec::new())?;
    let mut whole = String::new();
    for imported in &order {
        let text = text(imported, files)?;
        match kind {
            Kind::Script => add_module(imported, &text, &mut whole),
            Kind::Style => add_body(kind, imported, &text, &mut whole),
        }
    }
    add_body(kind, path, &text(path, files)?, &mut whole);
    Some(whole)
}

#[derive(Clone, Copy)]
enum Kind {
    Script,
    Style,
}

fn kind(path: &str) -> Option<Kind> {
    match path.rsplit_once('.')?.1 {
        "js" => Some(Kind::Script),
        "css" => Some(Kind::Style),
        _ => None,
    }
}

fn text(path: &str, files: &Contents) -> Option<String> {
    Some(String::from_utf8_lossy(files.get(path)?).into_owned())
}

/// Adds each import after those that it imports itself. `None` if one is missing, or if a file
/// imports itself: then nothing is joined, and the browser runs the files as they are.
fn add_imports(
    path: &str,
    files: &Contents,
    order: &mut Vec<String>,
    open: &mut Vec<String>,
) -> Option<()> {
    open.push(path.into());
    for imported in imports(path, &text(path, files)?) {
        if open.contains(&imported) {
            return None;
        }
        if !order.contains(&imported) {
            add_imports(&imported, files, order, open)?;
            order.push(imported);
        }
    }
    open.pop();
    Some(())
}

/// Adds a module as a function of its own, so that its names do not meet those of other modules.
fn add_module(path: &str, text: &str, whole: &mut String) {
    let name = variable(path);
    whole.push_str(&format!("const {name} = (() => {{\n"));
    let mut body = String::new();
    add_body(Kind::Script, path, text, &mut body);
    let mut exports = Vec::new();
    for line in body.split_inclusive('\n') {
        let declaration = line.strip_prefix("export ");
        exports.extend(declaration.and_then(declared));
        whole.push_str(declaration.unwrap_or(line));
    }
    whole.push_str(&format!("return {{ {} }};\n}})();\n", exports.join(", ")));
}

/// Adds the text of a file without its comments. In place of its imports, a script takes what it
/// imports from the variables of [`add_module`], and a style sheet has nothing.
fn add_body(kind: Kind, path: &str, text: &str, whole: &mut String) {
    let mut is_in_comment = false;
    for mut line in text.split_inclusive('\n') {
        if is_in_comment || line.trim_start().starts_with("/*") {
            let rest = line.split_once("*/").map(|(_, rest)| rest);
            is_in_comment = rest.is_none();
            line = rest.unwrap_or_default();
            if line.trim().is_empty() {
                continue;
            }
        }
        if line.trim_start().starts_with("//") {
            continue;
        }
        let Some(imported) = import(kind, path, line) else {
            whole.push_str(line);
            continue;
        };
        let names = line.strip_prefix("import ").and_then(|rest| rest.split_once(" from "));
        if let Some((names, _)) = names {
            let names = names.replace(" as ", ": ");
            whole.push_str(&format!("const {names} = {};\n", variable(&imported)));
        }
    }
    if !whole.ends_with('\n') {
        whole.push('\n');
    }
}

/// The variable that holds the exports of a module: `$js_proof_file` of `js/proof/file.js`.
fn variable(path: &str) -> String {
    let letters = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let path = path.trim_end_matches(".js");
    format!("${}", path.chars().map(letters).collect::<String>())
}

/// The name that a declaration declares: `f` of `async function f(a) {`.
fn declared(declaration: &str) -> Option<&str> {
    let declaration = declaration.strip_prefix("async ").unwrap_or(declaration);
    let (_, rest) = declaration.split_once(' ')?;
    rest.split(|c: char| !c.is_ascii_alphanumeric() && !"_$".contains(c)).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::borrow::Cow;

    use crate::web::pages::source::Source;

    fn files(files: &[(&str, &'static str)]) -> Contents {
        let entry = |(path, text): &(&str, &'static str)| {
            (path.to_string(), Cow::Borrowed(text.as_bytes()))
        };
        files.iter().map(entry).collect()
    }

    #[test]
    fn a_script_runs_after_each_module_that_it_imports_and_each_module_comes_once() {
        let files = files(&[
            (
                "js/a.js",
                "import { b } from \"./b.js\";\nimport { C as D } from \"./sub/c.js\";\nb(D);\n",
            ),
            (
                "js/b.js",
                "import { C } from \"./sub/c.js\";\nconst x = 1;\nexport async function b() {}\n",
            ),
            (
                "js/sub/c.js",
                "import { d } from \"../d.js\";\nexport class C {}\nexport const y = d;",
            ),
            ("js/d.js", "const x = 2;\nexport const d = x;\n"),
        ]);
        let expected = "const $js_d = (() => {\n\
                        const x = 2;\nconst d = x;\nreturn { d };\n})();\n\
                        const $js_sub_c = (() => {\n\
                        const { d } = $js_d;\nclass C {}\nconst y = d;\nreturn { C, y };\n})();\n\
                        const $js_b = (() => {\n\
                        const { C } = $js_sub_c;\nconst x = 1;\nasync function b() {}\n\
                        return { b };\n})();\n\
                        const { b } = $js_b;\nconst { C: D } = $js_sub_c;\nb(D);\n";
        assert_eq!(joined("js/a.js", &files).as_deref(), Some(expected));
        let alone = joined("js/d.js", &files);
        assert_eq!(alone.as_deref(), Some("const x = 2;\nexport const d = x;\n"));
    }

    #[test]
    fn a_style_sheet_comes_after_those_that_it_imports() {
        let files = files(&[
            ("css/all.css", "/* All. */\n@import \"./b.css\";\n@import \"./a.css\";\nb {}\n"),
            ("css/a.css", "a {}"),
            ("css/b.css", "@import \"./a.css\";\ni {}\n"),
        ]);
        let joined = joined("css/all.css", &files);
        assert_eq!(joined.as_deref(), Some("a {}\ni {}\nb {}\n"));
    }

    #[test]
    fn comments_are_left_out() {
        let files = files(&[
            (
                "a.css",
                "@import \"./b.css\";\n/* One. */\na {}\n\n  /* Two,\n     three. */\n  u {}\n/* Four. */ s {}\n",
            ),
            ("b.css", "/* Five. */\nb {}\n"),
            ("c.js", "import { d } from \"./d.js\";\n// One.\nd(); // Two.\n"),
            ("d.js", "/**\n * Three.\n */\nexport function d() {\n  // Four.\n}\n"),
        ]);
        assert_eq!(joined("a.css", &files).as_deref(), Some("b {}\na {}\n\n  u {}\n s {}\n"));
        assert_eq!(joined("b.css", &files).as_deref(), Some("b {}\n"));
        let script = "const $d = (() => {\nfunction d() {\n}\nreturn { d };\n})();\n\
                      const { d } = $d;\nd(); // Two.\n";
        assert_eq!(joined("c.js", &files).as_deref(), Some(script));
    }

    #[test]
    fn files_that_import_each_other_or_a_missing_file_are_not_joined() {
        let files = files(&[
            ("a.js", "import { b } from \"./b.js\";\nexport const a = 1;\n"),
            ("b.js", "import { a } from \"./a.js\";\nexport const b = 1;\n"),
            ("c.js", "import { d } from \"./d.js\";\n"),
            (
                "e.js",
                "const e = \"import { d } from './d.js'\";\n// import { b } from \"./b.js\";\n",
            ),
            ("a.txt", "import { b } from \"./b.js\";\n"),
        ]);
        for path in ["a.js", "b.js", "c.js", "a.txt", "none.js"] {
            assert_eq!(joined(path, &files), None, "{path}");
        }
        // Texts like those of imports are none.
        let alone = joined("e.js", &files);
        assert_eq!(alone.as_deref(), Some("const e = \"import { d } from './d.js'\";\n"));
    }

    #[test]
    fn every_delivered_script_has_imports_and_exports_that_can_be_joined() {
        let files = Source::static_files(None).read().expect("files");
        for (path, content) in files.iter().filter(|(path, _)| path.ends_with(".js")) {
            let text = String::from_utf8_lossy(content);
            let n_imports = text.lines().filter(|line| line.starts_with("import")).count();
            assert_eq!(imports(path, &text).len(), n_imports, "{path}");
            assert!(!text.contains("import("), "{path} imports a module when it runs");
            for line in text.lines().filter_map(|line| line.strip_prefix("export")) {
                let of_kind = |kind: &str| line.starts_with(&format!(" {kind} "));
                let kinds = ["function", "async function", "class", "const"];
                assert!(kinds.into_iter().any(of_kind), "{path}: export{line}");
                assert!(!line.contains('{') || !line.starts_with(" const {"), "{path}: {line}");
            }
            let whole = joined(path, &files);
            assert!(whole.is_some(), "{path}");
            let lines = whole.iter().flat_map(|whole| whole.lines());
            assert_eq!(lines.filter(|line| line.starts_with("import ")).count(), 0, "{path}");
        }
    }
}
