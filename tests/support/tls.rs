//! Certificates made for one test, good and bad ones, and a real Redis server that shows them.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

use super::redis_process::{Folder, Recipe, RedisProcess, Role, TlsFiles, is_installed_or_skip};
use super::rights;

/// What a server shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// Signed by the authority, for `localhost` and 127.0.0.1.
    Good,
    /// Signed by the authority, for somebody else.
    OfAnother,
    /// It was good until the year 2001.
    Expired,
    /// Signed by nobody but itself.
    SelfSigned,
}

/// A certificate and its key, both as PEM.
#[derive(Clone)]
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

/// An authority of this test's own, and what it has signed.
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = named("an authority", &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = new_key();
        let certificate = params.self_signed(&key).expect("the authority can sign").pem();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    /// Who trusts this trusts what the authority has signed: PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    pub fn server(&self, shown: Shown) -> Pair {
        let mut params = match shown {
            Shown::OfAnother => named("another server", &["another.example", "127.0.0.2"]),
            Shown::Good | Shown::Expired | Shown::SelfSigned => {
                named("a server", &["localhost", "127.0.0.1"])
            }
        };
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        match shown {
            Shown::Expired => {
                (params.not_before, params.not_after) =
                    (date_time_ymd(2000, 1, 1), date_time_ymd(2001, 1, 1));
                self.sign(&params)
            }
            Shown::SelfSigned => self_signed(&params),
            Shown::Good | Shown::OfAnother => self.sign(&params),
        }
    }

    /// For who must show one to the server.
    pub fn client(&self) -> Pair {
        let mut params = named("a client", &[]);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> Pair {
        let key = new_key();
        let certificate = params.signed_by(&key, &self.issuer).expect("the authority can sign");
        Pair { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

fn self_signed(params: &CertificateParams) -> Pair {
    let key = new_key();
    let certificate = params.self_signed(&key).expect("a server can sign");
    Pair { certificate: certificate.pem(), key: key.serialize_pem() }
}

fn named(name: &str, hosts: &[&str]) -> CertificateParams {
    let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
    let mut params = CertificateParams::new(hosts).expect("names of hosts");
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("there is randomness")
}

/// A server whose only port speaks TLS. The harness comes by a socket file.
pub struct TlsServer {
    process: RedisProcess,
    authority: Authority,
    _files: Folder,
}

impl TlsServer {
    /// `None`, and a line that says so, where no Redis is installed; a panic if LARDER_REQUIRE_ALL=1.
    pub async fn start_or_skip(test: &str, shown: Shown) -> Option<Self> {
        match is_installed_or_skip(test) {
            true => Some(Self::start(shown, false).await),
            false => None,
        }
    }

    /// One that lets in only those who show a certificate of the authority's.
    pub async fn start_mutual_or_skip(test: &str) -> Option<Self> {
        match is_installed_or_skip(test) {
            true => Some(Self::start(Shown::Good, true).await),
            false => None,
        }
    }

    async fn start(shown: Shown, asks_clients: bool) -> Self {
        let (authority, files) = (Authority::new(), Folder::make("tls"));
        let write = |name: &str, pem: &str| -> PathBuf {
            let path = files.path().join(name);
            fs::write(&path, pem).expect("the folder can be written to");
            path
        };
        let Pair { certificate, key } = authority.server(shown);
        let role = Role::TlsServer(TlsFiles {
            certificate: write("server.pem", &certificate),
            key: write("server.key", &key),
            authority: write("authority.pem", authority.certificate()),
            asks_clients,
        });
        let process = RedisProcess::start(Recipe::with_user(role, None, Vec::new())).await;
        Self { process, authority, _files: files }
    }

    pub fn address(&self) -> SocketAddr {
        self.process.address()
    }

    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// For the user as whom the library runs.
    pub fn url(&self) -> String {
        rights::url(self.address()).replacen("redis://", "rediss://", 1)
    }

    /// The same, by its name instead of its address.
    pub fn url_by_name(&self) -> String {
        self.url().replacen("127.0.0.1", "localhost", 1)
    }

    /// For its commands, past TLS, and to kill and freeze it.
    pub fn process(&self) -> &RedisProcess {
        &self.process
    }
}
