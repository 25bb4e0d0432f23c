//! Which file is read, and which of its profiles is active.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use rocket::figment::{Figment, Profile};

use super::error::ConfigError;

const FILE_NAME: &str = "Rocket.toml";
/// Names another file than `Rocket.toml`.
const FILE_VARIABLE: &str = "ROCKET_CONFIG";
const PROFILE_VARIABLE: &str = "ROCKET_PROFILE";

/// The absolute path of the configuration file, or `None` where there is none. A symbolic link is
/// not resolved: relative paths start beside the link, however the file was found.
///
/// # Errors
///
/// `ROCKET_CONFIG` names a file that does not exist.
pub fn find() -> Result<Option<PathBuf>, ConfigError> {
    // A path may be any bytes.
    if let Some(name) = env::var_os(FILE_VARIABLE) {
        let file = PathBuf::from(&name);
        let name = name.display().to_string();
        return match std::path::absolute(&file) {
            Ok(file) if file.exists() => Ok(Some(file)),
            _ => Err(ConfigError::Missing { name, variable: FILE_VARIABLE }),
        };
    }
    let working_folder = env::current_dir().ok();
    let program = env::current_exe().ok().and_then(|program| program.canonicalize().ok());
    let bin = program.as_deref().and_then(Path::parent);
    let above = |folder: Option<&Path>| -> Vec<PathBuf> {
        folder.into_iter().flat_map(Path::ancestors).map(Path::to_path_buf).collect()
    };
    // An installed program reads its own file first, in whatever folder it is called: it is about
    // the history that the service keeps, and not about some other project's file.
    let folders = bin
        .and_then(installed_folder)
        .into_iter()
        .chain(above(working_folder.as_deref()))
        .chain(above(bin));
    Ok(folders.map(|folder| folder.join(FILE_NAME)).find(|file| file.is_file()))
}

/// Refuses variables that are not UTF-8. They would be read as another value, or as none.
///
/// # Errors
///
/// [`ConfigError::NotText`] names the first one.
pub fn check_variables() -> Result<(), ConfigError> {
    let is_text = |name: &OsStr, value: &OsStr| {
        !name.as_encoded_bytes().starts_with(b"ROCKET_")
            || name == FILE_VARIABLE
            || (name.to_str().is_some() && value.to_str().is_some())
    };
    match env::vars_os().find(|(name, value)| !is_text(name, value)) {
        None => Ok(()),
        Some((name, value)) => Err(ConfigError::NotText {
            variable: name.display().to_string(),
            value: value.display().to_string(),
        }),
    }
}

/// Where `make install` puts the configuration of a program in `<prefix>/bin`.
fn installed_folder(bin: &Path) -> Option<PathBuf> {
    let prefix = bin.parent()?;
    // A system's own programs have theirs in /etc: https://refspecs.linuxfoundation.org/FHS_3.0
    let etc = if prefix == Path::new("/usr") { "/etc".into() } else { prefix.join("etc") };
    Some(etc.join("rollcast"))
}

/// The profile named by `ROCKET_PROFILE`, or the one of this build.
///
/// # Errors
///
/// `ROCKET_PROFILE` names a profile that does not exist. `debug` and `release` always exist; any
/// other profile must be in the file, because a misspelled name would run with the defaults.
pub fn profile(from_file: &Figment, file: Option<&Path>) -> Result<Profile, ConfigError> {
    let Ok(name) = env::var(PROFILE_VARIABLE) else {
        return Ok(rocket::Config::DEFAULT_PROFILE);
    };
    let profile = Profile::new(&name);
    let mut known: Vec<String> = from_file.profiles().map(|known| known.to_string()).collect();
    known.extend(["debug".into(), "release".into()]);
    known.retain(|known| known != "default" && known != "global");
    known.sort();
    known.dedup();
    if known.iter().any(|known| profile == known.as_str()) {
        return Ok(profile);
    }
    Err(ConfigError::Profile {
        profile: name,
        known: known.join(", "),
        file: match file {
            Some(file) => file.display().to_string(),
            None => "the built-in defaults".into(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_installed_program_has_its_configuration_in_the_etc_of_its_prefix() {
        let table = [
            ("/usr/bin", "/etc/rollcast"),
            ("/usr/local/bin", "/usr/local/etc/rollcast"),
            ("/opt/rollcast/bin", "/opt/rollcast/etc/rollcast"),
            ("/home/ada/.cargo/bin", "/home/ada/.cargo/etc/rollcast"),
        ];
        for (bin, expected) in table {
            assert_eq!(installed_folder(Path::new(bin)).as_deref(), Some(Path::new(expected)));
        }
    }
}
