//! An HTTP client of one address. Its connections are kept open from request to request, as those of browsers and of
//! balancers are.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use axum::body::{Body, Bytes, to_bytes};
use axum::http::header::{CONTENT_TYPE, HOST};
use axum::http::{Method, Request, StatusCode};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::tally::Tally;

/// At once. Who comes then waits for one to be free, and that counts as waiting for the blog.
const CONNECTIONS: usize = 128;

/// No page is longer than this.
const LONGEST: usize = 64 * 1024 * 1024;

pub(super) struct Door {
    address: SocketAddr,
    idle: Mutex<Vec<SendRequest<Body>>>,
    room: Semaphore,
}

impl Door {
    pub(super) fn to(address: SocketAddr) -> Self {
        Self { address, idle: Mutex::default(), room: Semaphore::new(CONNECTIONS) }
    }

    pub(super) async fn get(&self, path: &str) -> Result<(StatusCode, Bytes)> {
        self.send(self.request(Method::GET, path, Body::empty())?).await
    }

    pub(super) async fn post(&self, path: &str, json: String) -> Result<(StatusCode, Bytes)> {
        self.send(self.request(Method::POST, path, json.into())?).await
    }

    /// What the process behind it says of itself.
    pub(super) async fn tally(&self) -> Result<Tally> {
        match self.get("/stats").await? {
            (StatusCode::OK, json) => serde_json::from_slice(&json).context("these are no figures of a blog"),
            (status, _) => bail!("asked for its figures, it answered {status}"),
        }
    }

    /// Closes the connections that are not in use.
    pub(super) fn close(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn request(&self, method: Method, path: &str, body: Body) -> Result<Request<Body>> {
        let request = Request::builder().method(method).uri(path).header(HOST, self.address.to_string());
        Ok(request.header(CONTENT_TYPE, "application/json").body(body)?)
    }

    async fn send(&self, mut request: Request<Body>) -> Result<(StatusCode, Bytes)> {
        let _room = self.room.acquire().await?;
        loop {
            let (mut connection, is_new) = self.connection().await?;
            // Whoever is behind may have closed a connection that nobody used.
            if connection.ready().await.is_err() && !is_new {
                continue;
            }
            match connection.try_send_request(request).await {
                Ok(response) => {
                    let (head, body) = response.into_parts();
                    let body = to_bytes(Body::new(body), LONGEST).await.context("half an answer came")?;
                    self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
                    return Ok((head.status, body));
                }
                // Given back: nothing of it has been sent, and another connection may take it.
                Err(mut refusal) => match refusal.take_message() {
                    Some(unsent) if !is_new => request = unsent,
                    _ => return Err(refusal.into_error()).context("no answer came"),
                },
            }
        }
    }

    /// One that is open, or a new one.
    async fn connection(&self) -> Result<(SendRequest<Body>, bool)> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match idle {
            Some(connection) => Ok((connection, false)),
            None => Ok((self.connect().await.context("the blog cannot be reached")?, true)),
        }
    }

    async fn connect(&self) -> Result<SendRequest<Body>> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // What goes wrong with it is told to whoever sends a request.
        tokio::spawn(connection);
        Ok(sender)
    }
}
