//! Whom commands believe that ask a server elsewhere.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use ureq::tls::{Certificate, PemItem, parse_pem};

use crate::cli::Failure;

/// Whose certificates count.
#[derive(Clone, Debug, Args)]
pub struct TrustArgs {
    /// Trust the certificates in this PEM file, instead of those that browsers trust
    #[arg(long, value_name = "FILE")]
    cafile: Option<PathBuf>,
}

impl TrustArgs {
    /// The certificates of authorities; `None`: those that browsers trust.
    pub fn certificates(&self) -> Result<Option<Vec<Certificate<'static>>>, Failure> {
        let trusted = self.cafile.as_deref().map(read).transpose();
        trusted.map_err(|error| Failure { error, exit_code: 2 })
    }
}

fn read(file: &Path) -> anyhow::Result<Vec<Certificate<'static>>> {
    let pem = std::fs::read(file).with_context(|| format!("cannot read `{}`", file.display()))?;
    let mut certificates = Vec::new();
    for item in parse_pem(&pem) {
        if let PemItem::Certificate(certificate) =
            item.with_context(|| format!("expected PEM in `{}`", file.display()))?
        {
            certificates.push(certificate);
        }
    }
    anyhow::ensure!(!certificates.is_empty(), "expected certificates in `{}`", file.display());
    Ok(certificates)
}
