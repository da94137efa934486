//! A server that speaks TLS is believed when its certificate is good, and not when it is bad.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::support::aside;
use super::support::resp::Reply;
use super::support::tls::{Pair, Shown, TlsServer};

/// What a client hears that trusts this test's authority, and goes by `name`.
async fn ping(server: &TlsServer, name: &'static str, client: Option<Pair>) -> io::Result<String> {
    let mut trusted = RootCertStore::empty();
    trusted.add(certificate(server.authority().certificate())).expect("the authority has a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.expect("ring knows them").with_root_certificates(trusted);
    let config = match client {
        None => config.with_no_client_auth(),
        Some(Pair { certificate: shown, key }) => {
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
            config.with_client_auth_cert(vec![certificate(&shown)], key).expect("they belong together")
        }
    };
    let address = server.address();
    aside(move || {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        let name = ServerName::try_from(name).expect("a name");
        let connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(connection, stream);
        stream.write_all(b"PING\r\n")?;
        let mut answer = [0; 7];
        stream.read_exact(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    })
    .await
}

fn certificate(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate")
}

fn is_pong(answer: &io::Result<String>) -> bool {
    matches!(answer, Ok(text) if text == "+PONG\r\n")
}

#[tokio::test]
async fn a_good_certificate_is_believed() {
    let Some(server) = TlsServer::start_or_skip("a_good_certificate_is_believed", Shown::Good).await else {
        return;
    };
    for name in ["localhost", "127.0.0.1"] {
        let answer = ping(&server, name, None).await;
        assert!(is_pong(&answer), "{name}: {answer:?}");
    }
    let elsewhere = ping(&server, "another.example", None).await.expect_err("it has another name");
    assert!(elsewhere.to_string().contains("not valid for name"), "{elsewhere}");
    assert_eq!(server.process().command(&["SET", "k", "v"]).await, Reply::ok());
    assert_eq!(server.url_by_name().replace("localhost", "127.0.0.1"), server.url());
    assert!(server.url().starts_with("rediss://"));
}

#[tokio::test]
async fn a_bad_certificate_is_not_believed() {
    for (shown, why) in [
        (Shown::OfAnother, "not valid for name"),
        (Shown::Expired, "expired"),
        (Shown::SelfSigned, "UnknownIssuer"),
    ] {
        let Some(server) = TlsServer::start_or_skip("a_bad_certificate_is_not_believed", shown).await else {
            return;
        };
        let answer = ping(&server, "localhost", None).await.expect_err("the certificate is bad");
        assert!(answer.to_string().contains(why), "{shown:?}: {answer}");
        server.process().restart().await;
        assert_eq!(server.process().command(&["DBSIZE"]).await, Reply::Int(0), "it serves all the same");
    }
}

#[tokio::test]
async fn a_server_may_ask_clients_for_a_certificate() {
    let Some(server) = TlsServer::start_mutual_or_skip("a_server_may_ask_clients_for_a_certificate").await
    else {
        return;
    };
    let shown = ping(&server, "localhost", Some(server.authority().client())).await;
    assert!(is_pong(&shown), "{shown:?}");
    assert!(!is_pong(&ping(&server, "localhost", None).await), "who shows nothing is not let in");
}
