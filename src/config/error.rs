//! Configuration errors. Figment's errors become ours here.

use std::io;

use rocket::figment::error::Kind;
use rocket::figment::{Error, Metadata};

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file that a variable names does not exist.
    #[error(
        "cannot find the configuration file `{name}` from {variable}; \
         name an existing file, or unset {variable}"
    )]
    Missing { name: String, variable: &'static str },
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
        _ => ConfigError::Value(first.to_string()),
    }
}

/// Where a value comes from, for people: a file, the environment or the defaults.
pub fn source_name(metadata: Option<&Metadata>) -> String {
    match metadata {
        Some(Metadata { source: Some(source), .. }) => source.to_string(),
        Some(metadata) => metadata.name.to_string(),
        None => "the defaults".into(),
    }
}
