//! What a template refers to: other templates and static files.
//!
//! Read from Tera's own syntax tree, so that text in a comment or a raw block is no reference.

use tera::Template;
use tera::ast::{Expr, ExprVal, Node};

/// The variable of all templates that holds the address of the static files.
const STATIC_FILES: &str = "site.assets";

/// The references of one template, wherever they stand in it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct References {
    /// The templates that it extends, includes or imports. Each of these needs one of its names.
    /// Names that may be missing are left out.
    pub templates: Vec<Vec<String>>,
    /// The static files that it links: `css/base.css` of `{{ site.assets }}/css/base.css`.
    pub files: Vec<String>,
}

impl References {
    /// The references of a template.
    pub fn of(template: &Template) -> References {
        // The tree is public but not documented. If a new version of Tera changes it, this does not
        // compile.
        let mut references = References::default();
        references.add(&template.ast);
        references
    }

    fn add(&mut self, nodes: &[Node]) {
        for (at, node) in nodes.iter().enumerate() {
            match node {
                Node::Extends(_, name) | Node::ImportMacro(_, name, _) => {
                    self.templates.push(vec![name.clone()]);
                }
                Node::Include(_, names, ignore_missing) => {
                    if !ignore_missing {
                        self.templates.push(names.clone());
                    }
                }
                Node::VariableBlock(_, Expr { val: ExprVal::Ident(name), .. })
                    if name == STATIC_FILES =>
                {
                    self.files.extend(nodes.get(at + 1).and_then(linked_file));
                }
                Node::MacroDefinition(_, definition, _) => self.add(&definition.body),
                Node::FilterSection(_, section, _) => self.add(&section.body),
                Node::Block(_, block, _) => self.add(&block.body),
                Node::Forloop(_, each, _) => {
                    self.add(&each.body);
                    self.add(each.empty_body.as_deref().unwrap_or_default());
                }
                Node::If(branches, _) => {
                    for (_, _, body) in &branches.conditions {
                        self.add(body);
                    }
                    if let Some((_, body)) = &branches.otherwise {
                        self.add(body);
                    }
                }
                Node::VariableBlock(..) | Node::Super | Node::Text(_) | Node::Set(..) => {}
                Node::Raw(..) | Node::Comment(..) | Node::Break(_) | Node::Continue(_) => {}
            }
        }
    }
}

/// The file that the text after the address of the static files names.
fn linked_file(after: &Node) -> Option<String> {
    let Node::Text(text) = after else { return None };
    let path = text.strip_prefix('/')?.split(['"', '\'', ' ', '>']).next()?;
    Some(path.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn references(text: &str) -> References {
        References::of(&Template::new("page", None, text).expect("a template"))
    }

    #[test]
    fn templates_are_found_in_every_kind_of_tag_and_at_any_depth() {
        let text = r#"
            {%- extends 'a' %}{% import "b" as b %}
            {% block main %}{% if x %}{% include "c" %}{% elif y %}{% include `d` %}{% else -%}
            {% for z in x %}{%- include   "e" -%}{% else %}{% include ["f", "g"] %}{% endfor %}
            {% endif %}{% filter upper %}{% include "h" %}{% endfilter %}{% endblock %}
            {% macro m() %}{% include "i" %}{% endmacro %}"#;
        let names = ["a", "b", "c", "d", "e", "f or g", "h", "i"];
        let found = references(text).templates;
        let found: Vec<String> = found.iter().map(|names| names.join(" or ")).collect();
        assert_eq!(found, names);
    }

    #[test]
    fn what_may_be_missing_or_is_only_text_is_no_reference() {
        for text in [
            r#"{% include "x" ignore missing %}"#,
            r#"{%- include ["x", "y"]  ignore  missing -%}"#,
            r#"{# {% include "x" %} {% extends "x" %} {{ site.assets }}/x.css #}"#,
            r#"{% raw %}{% include "x" %}{{ site.assets }}/x.css{% endraw %}"#,
            r#"To include "x", or what extends "x", see site.assets }}/x.css"#,
            r#"{{ site.assets }}"#,
            r#"{{ site.assets }} /x.css"#,
            r#"{{ site.title }}/x.css"#,
        ] {
            assert_eq!(references(text), References::default(), "{text}");
        }
    }

    #[test]
    fn links_are_found_however_the_tag_is_spaced() {
        let text = r#"<a href="{{ site.assets }}/a.css"><b src='{{site.assets}}/b/c.js'>
            {% if x %}<c src={{- site.assets -}}/d.js>{% endif %}{{ site.assets }}"#;
        assert_eq!(references(text).files, ["a.css", "b/c.js", "d.js"]);
    }
}
