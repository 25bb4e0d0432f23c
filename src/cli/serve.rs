//! `rollcast serve`.

use tracing::info;

use crate::app;
use crate::cli::{Failure, logging, say_last};
use crate::config::Config;
use crate::web::SiteFiles;

/// Runs the server until a signal stops it.
///
/// # Errors
///
/// A configured folder or the log filter cannot be used: exit code 2. The server failed: exit code
/// 1.
pub fn serve(config: Config) -> Result<(), Failure> {
    // A mistake in them is found before the database is opened or created.
    let files = site_files(&config)?;
    let log = logging::start(config.log_format).map_err(Failure::usage)?;
    if config.file.is_none() {
        let database = config.store.database.display();
        info!("found no Rocket.toml, using built-in defaults; rolls are stored in {database}");
    }
    let ended = app::run(&config, app::serve(&config, files));
    // Dropping the log waits for its last lines. If nobody reads them, tracing-appender prints a
    // complaint on standard output.
    say_last(move || drop(log));
    Ok(ended??)
}

/// Reads and checks templates and static files.
///
/// # Errors
///
/// A configured folder cannot be used: exit code 2.
pub fn site_files(config: &Config) -> Result<SiteFiles, Failure> {
    SiteFiles::load(&config.web).map_err(Failure::usage)
}
