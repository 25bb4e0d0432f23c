//! Which TLS certificates the commands that talk to a server accept.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use event_stream::client::Certificates;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::cli::Failure;

/// Which authorities are trusted.
#[derive(Clone, Debug, Args)]
pub struct TrustArgs {
    /// Trust the certificates in this PEM file instead of those that browsers trust
    #[arg(long, value_name = "FILE")]
    cafile: Option<PathBuf>,
}

impl TrustArgs {
    /// The trusted authorities; `None`: those that browsers trust.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or holds no certificate in PEM.
    pub fn authorities(&self) -> Result<Option<Vec<CertificateDer<'static>>>, Failure> {
        let authorities = self.cafile.as_deref().map(read).transpose();
        authorities.map_err(|error| Failure { error, exit_code: 2 })
    }

    /// The certificates that a connection accepts.
    ///
    /// # Errors
    ///
    /// As for [`TrustArgs::authorities`].
    pub fn certificates(&self) -> Result<Certificates, Failure> {
        Ok(self.authorities()?.map_or(Certificates::Public, Certificates::Of))
    }
}

fn read(file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let file_name = file.display();
    let pem = std::fs::read(file).with_context(|| format!("cannot read `{file_name}`"))?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| anyhow::anyhow!("expected PEM in `{file_name}`: {error}"))?;
    anyhow::ensure!(!certificates.is_empty(), "expected certificates in `{file_name}`");
    Ok(certificates)
}
