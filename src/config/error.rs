//! Configuration errors. Figment's errors become ours here.

use std::io;

use rocket::figment::error::{Actual, Kind};
use rocket::figment::{Error, Metadata};

use super::keys::TABLE;

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file that a variable names does not exist.
    #[error(
        "cannot find the configuration file `{name}` from {variable}; \
         name an existing file, or unset {variable}"
    )]
    Missing { name: String, variable: &'static str },
    /// A variable that is not UTF-8.
    #[error("expected text in UTF-8 in the variable {variable}, got `{value}`")]
    NotText { variable: String, value: String },
    /// A folder that Rocket cannot take.
    #[error("expected a folder whose path is UTF-8 for key `template_dir`, got `{0}`; rename it")]
    FolderName(String),
    /// Without a file, paths are relative to the working folder.
    #[error("cannot determine the working folder; start rollcast in a folder that exists")]
    WorkingFolder(#[source] io::Error),
    /// A profile that the file does not have.
    #[error("expected a profile of {file} ({known}), got `{profile}` from ROCKET_PROFILE")]
    Profile { profile: String, known: String, file: String },
    /// A key that nothing reads.
    #[error("unknown key `{key}` in {source_name}; {remedy}")]
    UnknownKey { key: String, source_name: String, remedy: String },
    /// A value that cannot be used. The text names the value, its key and its source.
    #[error("{0}")]
    Value(String),
}

/// The first mistake in `error`. Figment's own text names value, key and source.
pub fn value_error(error: Error) -> ConfigError {
    let Some(first) = error.into_iter().next() else {
        return ConfigError::Value("the configuration cannot be read".into());
    };
    match &first.kind {
        Kind::UnknownField(_, known) => ConfigError::UnknownKey {
            key: first.path.join("."),
            source_name: source_name(first.metadata.as_ref()),
            remedy: format!("expected one of {}", known.join(", ")),
        },
        // A mistake in the value of a variable makes it a text instead of a table.
        Kind::InvalidType(Actual::Str(given), _) if is_table_variable(&first) => {
            ConfigError::Value(format!(
                "expected a table such as `{{key=\"text\", key=5}}` in the variable ROCKET_{}, got \
                 `{given}`; put texts between double quotes",
                first.path[0].to_uppercase()
            ))
        }
        _ => ConfigError::Value(first.to_string()),
    }
}

/// Whether the error is about a whole table that a variable sets.
fn is_table_variable(error: &Error) -> bool {
    let is_variable = error.metadata.as_ref().is_some_and(|it| it.name.contains("environment"));
    is_variable && matches!(&*error.path, [key] if key == TABLE || key == "shutdown")
}

/// Where a value comes from, for people: a file, the environment or the defaults.
pub fn source_name(metadata: Option<&Metadata>) -> String {
    match metadata {
        Some(Metadata { source: Some(source), .. }) => source.to_string(),
        Some(metadata) => metadata.name.to_string(),
        None => "the defaults".into(),
    }
}
