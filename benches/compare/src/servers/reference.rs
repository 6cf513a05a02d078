//! The reference server of this repository, as a library and without a log.

use std::io;

use gatecrash_reference_server::{Config, Dialect, RefusalStyle, Server};

use crate::interface::SECRET;

pub(super) async fn serve(refusal: RefusalStyle) -> io::Result<()> {
    let mut config = Config { refusal, ..Config::new(Dialect::PersonalAssistant, SECRET) };
    // Limits are for strangers; here one client has all connections.
    config.limits.connections = 50_000;
    config.limits.per_user = 50_000;
    let server = Server::bind(config).await?;
    println!("{}", server.local_addr().port());
    server.run(std::future::pending()).await;
    Ok(())
}
