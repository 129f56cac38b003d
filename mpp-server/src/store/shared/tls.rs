//! Encrypted connections: whose certificates are trusted, and why one is not.

use std::{error::Error, io, sync::Arc};

use rustls::{
    CertificateError, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use super::ConnectError;
use crate::store::StoreFault;

/// Whether these are certificates in PEM form that can be roots; at least one.
///
/// # Errors
/// [`ConnectError::ConnectionString`] when they are not.
pub(in crate::store) fn check_roots(pem: &[u8]) -> Result<(), ConnectError> {
    if given(pem)?.is_empty() {
        return Err(ConnectError::ConnectionString(
            "there is no certificate in the root certificates",
        ));
    }
    Ok(())
}

/// The roots that a server's certificate must lead to.
#[cfg(feature = "postgres")]
#[derive(Clone, Default)]
pub(in crate::store) enum Roots {
    /// Those that the operating system trusts.
    #[default]
    Platform,
    /// These and no others, as PEM.
    Given(Arc<[u8]>),
}

#[cfg(feature = "postgres")]
impl Roots {
    /// Takes certificates in PEM form.
    ///
    /// # Errors
    /// As [`check_roots`].
    pub(in crate::store) fn from_pem(pem: &[u8]) -> Result<Self, ConnectError> {
        check_roots(pem)?;
        Ok(Self::Given(pem.into()))
    }

    /// A configuration for connections that trust these roots. It checks the
    /// certificate and the name of the host.
    ///
    /// # Errors
    /// [`ConnectError::NoRoots`] when the operating system trusts nobody.
    pub(in crate::store) fn client(&self) -> Result<rustls::ClientConfig, ConnectError> {
        let roots = match self {
            Self::Platform => platform()?,
            Self::Given(pem) => given(pem)?,
        };
        trusting(roots)
    }
}

#[cfg(feature = "postgres")]
impl std::fmt::Debug for Roots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Platform => "Platform",
            Self::Given(_) => "Given(..)",
        })
    }
}

fn given(pem: &[u8]) -> Result<RootCertStore, ConnectError> {
    let unusable = ConnectError::ConnectionString("a root certificate can not be read");
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let added = certificate.is_ok_and(|certificate| roots.add(certificate).is_ok());
        if !added {
            return Err(unusable);
        }
    }
    Ok(roots)
}

#[cfg(feature = "postgres")]
fn platform() -> Result<RootCertStore, ConnectError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Some systems carry a certificate or two that nobody can read.
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        return Err(ConnectError::NoRoots);
    }
    Ok(roots)
}

/// A configuration for connections that are never encrypted: it trusts nobody.
#[cfg(feature = "postgres")]
pub(in crate::store) fn trusting_nobody() -> Result<rustls::ClientConfig, ConnectError> {
    trusting(RootCertStore::empty())
}

#[cfg(feature = "postgres")]
fn trusting(roots: RootCertStore) -> Result<rustls::ClientConfig, ConnectError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| {
            let message = "no version of TLS can be spoken";
            ConnectError::Failed(StoreFault::lasting(message, Some(error.into())))
        })?;
    Ok(client.with_root_certificates(roots).with_no_client_auth())
}

/// Chooses the cryptography of connections whose library asks the process for
/// it, unless the process has chosen.
#[cfg(feature = "redis")]
pub(in crate::store) fn ensure_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // It fails when somebody else was faster: then there is one.
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    }
}

/// Why a connection can not be encrypted as it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::store) enum Insecure {
    /// The server's certificate proves nothing.
    #[error("its certificate is not trusted")]
    Untrusted(#[source] Distrust),
    /// The server speaks plain text.
    #[error("it offers no encryption")]
    NotOffered,
}

impl Insecure {
    /// What an error says about encryption, wherever it lies among its sources.
    pub(in crate::store) fn found_in(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(said) = error.downcast_ref() {
                return Self::of(said);
            }
            next = wrapped(error).or_else(|| error.source());
        }
        None
    }

    fn of(error: &rustls::Error) -> Option<Self> {
        match error {
            rustls::Error::InvalidCertificate(why) => Some(Self::Untrusted(Distrust::of(why))),
            rustls::Error::NoCertificatesPresented => Some(Self::Untrusted(Distrust::Unfit)),
            rustls::Error::InvalidMessage(_) => Some(Self::NotOffered),
            _ => None,
        }
    }
}

/// What an error was made of and does not name as its source.
fn wrapped<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    if let Some(shared) = error.downcast_ref::<Arc<dyn Error + Send + Sync>>() {
        return Some(&**shared);
    }
    let error = error.downcast_ref::<io::Error>()?;
    error.get_ref().map(|inner| inner as _)
}

impl From<Insecure> for StoreFault {
    fn from(insecure: Insecure) -> Self {
        let message = "the connection to the store's server can not be encrypted as asked";
        Self::lasting(message, Some(Box::new(insecure)))
    }
}

/// Why the certificate of a store's server is not trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Distrust {
    /// It does not lead to a root that is trusted.
    #[error("no trusted root has issued it")]
    Issuer,
    /// It was issued for other hosts than the one that was to be reached.
    #[error("it is not for this host")]
    Host,
    /// It has expired, or does not count yet.
    #[error("it is not valid at this time")]
    Time,
    /// It is not well-formed, or not meant for a server.
    #[error("it is not fit for a server")]
    Unfit,
}

impl Distrust {
    fn of(error: &CertificateError) -> Self {
        match error {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::Issuer,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::Host
            }
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => Self::Time,
            _ => Self::Unfit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_are_certificates() {
        let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for pem in ["", "certificate", key, nonsense] {
            let refused = check_roots(pem.as_bytes());
            assert!(
                matches!(refused, Err(ConnectError::ConnectionString(_))),
                "{pem:?}"
            );
        }
    }

    #[test]
    fn what_a_library_wraps_is_found() {
        let untrusted = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let wrapped = io::Error::new(io::ErrorKind::InvalidData, untrusted);
        let twice = StoreFault::transient("a connection broke", Some(wrapped.into()));
        assert_eq!(
            Insecure::found_in(&twice),
            Some(Insecure::Untrusted(Distrust::Issuer))
        );
        // A broken connection is just that.
        let broken = io::Error::from(io::ErrorKind::ConnectionReset);
        assert_eq!(Insecure::found_in(&broken), None);
    }
}
