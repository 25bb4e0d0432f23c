//! The certificate of the door. It can be read again while the server runs.

use std::sync::{Arc, PoisonError, RwLock};

use anyhow::{Context, bail};
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::config::TlsConfig;

/// The certificate for new connections. Cheap to clone.
#[derive(Clone)]
pub struct Certificates {
    files: TlsConfig,
    current: Arc<RwLock<Arc<ServerConfig>>>,
}

impl Certificates {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// A file cannot be read, or key and certificate do not belong together.
    pub fn read(files: &TlsConfig) -> anyhow::Result<Certificates> {
        let current = Arc::new(RwLock::new(load(files)?));
        Ok(Certificates { files: files.clone(), current })
    }

    /// Reads the files again. Open connections keep their certificate.
    ///
    /// # Errors
    ///
    /// As for [`read`](Self::read). Then the certificate stays as it is.
    pub fn read_again(&self) -> anyhow::Result<()> {
        let config = load(&self.files)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    /// Accepts a connection with the current certificate.
    pub fn acceptor(&self) -> TlsAcceptor {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone().into()
    }
}

fn load(TlsConfig { certs, key }: &TlsConfig) -> anyhow::Result<Arc<ServerConfig>> {
    let (certs_name, key_name) = (certs.display(), key.display());
    let chain: Vec<CertificateDer<'_>> = CertificateDer::pem_file_iter(certs)
        .and_then(Iterator::collect)
        .with_context(|| format!("cannot read `{certs_name}` (rollcast.fanout.tls.certs)"))?;
    if chain.is_empty() {
        bail!("expected certificates in `{certs_name}` (rollcast.fanout.tls.certs), got none");
    }
    let private = PrivateKeyDer::from_pem_file(key)
        .with_context(|| format!("cannot read `{key_name}` (rollcast.fanout.tls.key)"))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .with_context(|| {
            format!(
                "cannot use the key `{key_name}` with the certificates `{certs_name}` \
                 (rollcast.fanout.tls)"
            )
        })?;
    let mut config = config;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
