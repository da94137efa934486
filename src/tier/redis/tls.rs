//! Encrypted connections: whom to trust, what to show, and why a server was not trusted, in words.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;

use redis::{Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, RedisError, TlsCertificates};
use rustls::{CertificateError, Error as TlsError};

use crate::error::{Error, ErrorKind, Result};

/// Certificates in PEM form.
#[derive(Default)]
pub(super) struct Tls {
    /// Who signs for servers; without them, whoever the machine trusts.
    pub(super) roots: Option<Vec<u8>>,
    /// What is shown to servers: a certificate and its key.
    pub(super) client: Option<(Vec<u8>, Vec<u8>)>,
}

impl Tls {
    /// `info` with these certificates, if it asks for TLS.
    pub(super) fn equip(&self, info: ConnectionInfo) -> Result<ConnectionInfo> {
        let is_encrypted = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
        if self.roots.is_none() && self.client.is_none() {
            return Ok(info);
        }
        if !is_encrypted {
            return Err(wrong("certificates are given, and the URL asks for no TLS: use `rediss://`"));
        }
        let client =
            self.client.clone().map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key });
        let certificates = TlsCertificates { client_tls: client, root_cert: self.roots.clone() };
        let client = Client::build_with_tls(info, certificates)
            .map_err(|_| wrong("a certificate or its key cannot be read: give them in PEM form"))?;
        Ok(client.get_connection_info().clone())
    }
}

fn wrong(detail: &'static str) -> Error {
    Error::new(ErrorKind::Settings, detail)
}

/// Whether connections can be encrypted at all: rustls leaves the cryptography to a crate of the application's choice.
pub(super) fn has_provider(info: &ConnectionInfo) -> bool {
    !matches!(info.addr(), ConnectionAddr::TcpTls { .. })
        || rustls::crypto::CryptoProvider::get_default().is_some()
}

/// What the application has to do when it has not.
pub(super) const NO_PROVIDER: &str = "no crypto provider is installed for TLS: call for example \
     `rustls::crypto::ring::default_provider().install_default()` when the program starts";

/// Why TLS did not come about, if that is why.
pub(super) fn reason(error: &RedisError) -> Option<&'static str> {
    let mut source: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<TlsError>() {
            return Some(in_words(error));
        }
        source = inside(error);
    }
    None
}

/// What is behind an error. A shared one, and one of I/O, name what is behind the one that is inside them.
fn inside<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    if let Some(shared) = error.downcast_ref::<Arc<dyn StdError + Send + Sync>>() {
        return Some(&**shared);
    }
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

fn in_words(error: &TlsError) -> &'static str {
    match error {
        TlsError::InvalidCertificate(certificate) => match certificate {
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "its certificate is for another name"
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "its certificate has expired"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "its certificate is not valid yet"
            }
            CertificateError::UnknownIssuer => "its certificate is signed by nobody who is trusted",
            CertificateError::Revoked => "its certificate was revoked",
            _ => "its certificate is not valid",
        },
        TlsError::AlertReceived(_) => "it did not accept the connection, or our certificate",
        TlsError::NoCertificatesPresented => "it shows no certificate",
        _ => "no encrypted connection could be agreed upon",
    }
}
