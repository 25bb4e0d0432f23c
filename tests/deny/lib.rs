//! Nothing: cargo-deny reads the manifests.
