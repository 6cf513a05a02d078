//! The servers, each on one thread, with `TCP_NODELAY` and the same check of the same token.

mod axum_ws;
mod fast;
mod raw;
mod reference;

use std::io;
use std::net::Ipv4Addr;

use gatecrash_reference_server::RefusalStyle;
use tokio::net::{TcpListener, TcpSocket};

/// Which servers there are, the floor first.
pub(crate) const NAMES: [&str; 4] = ["raw", "reference", "axum", "fastwebsockets"];

/// Serves until the process is killed.
pub(crate) async fn serve(name: &str) -> io::Result<()> {
    match name {
        "raw" => raw::serve(listen()?).await,
        "reference" => reference::serve(RefusalStyle::Http).await,
        // Not in the table: what the harness's preset of this dialect expects.
        "reference-close" => reference::serve(RefusalStyle::Close).await,
        "axum" => axum_ws::serve(listen()?).await,
        "fastwebsockets" => fast::serve(listen()?).await,
        _ => Err(io::Error::other(format!("there is no server `{name}`: {}", NAMES.join(", ")))),
    }
}

/// A free port of the loopback, with the reference server's backlog. The port is the first line of stdout.
fn listen() -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    let listener = socket.listen(1024)?;
    println!("{}", listener.local_addr()?.port());
    Ok(listener)
}
