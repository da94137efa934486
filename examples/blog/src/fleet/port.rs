//! A port for a program that cannot be told to choose one and say which.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::{Result, bail};

/// Below those that systems give to outgoing connections: while a server on one of those is down, a client that tries
/// to connect anew may be given that very port, and is then connected to itself.
const PORTS: std::ops::Range<u16> = 20_000..30_000;

/// How often a port is tried that somebody else may have, or take first.
pub(super) const TRIES: usize = 20;

/// One of this machine that nobody listens on. Somebody may take it before our program does; then try another.
pub(super) fn free() -> Result<SocketAddr> {
    for _ in 0..TRIES * 10 {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, fastrand::u16(PORTS)));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    bail!("no free port was found on this machine");
}
