//! `gatecrash serve`: the reference server in the foreground.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use crate::report::Exit;
use clap::Args;
use gatecrash_reference_server::{Config, Dialect, Fault, RefusalStyle, Server};
use tracing_subscriber::EnvFilter;

use super::{certificates, complain, file, say, signals};

/// What `gatecrash serve` is told.
#[derive(Debug, Args)]
pub(super) struct Serve {
    /// Which interface to speak: that of personal-assistant, shipvox, simutrador or omni2, or strict
    #[arg(long, default_value = "personal-assistant", value_name = "NAME", value_parser = super::dialect)]
    dialect: Dialect,
    /// How to refuse: after the upgrade by a close code, or before it by HTTP 401 and 403
    #[arg(long, default_value = "close", value_name = "close|http")]
    refusal: RefusalStyle,
    /// Be wrong in this one way, by the name of a weakness
    #[arg(long, value_name = "NAME", value_parser = super::fault)]
    fault: Option<Fault>,
    /// The address to listen on
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST), value_name = "IP")]
    host: IpAddr,
    /// The port to listen on; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Let a token pass this many seconds after its exp
    #[arg(long, default_value_t = 0, value_name = "SECONDS")]
    leeway: u64,
    /// Speak TLS, with a certificate made for this one start
    #[arg(long)]
    tls: bool,
    /// Where to write the certificate of the authority that vouches for it, for `gatecrash run --ca FILE`
    #[arg(long, default_value = "gatecrash-ca.pem", value_name = "FILE", requires = "tls")]
    tls_ca_out: PathBuf,
    /// Write logs as JSON lines
    #[arg(long)]
    log_json: bool,
}

/// Serves until it is asked to stop.
pub(super) async fn serve(arguments: Serve) -> Exit {
    // Logs go to stderr: the first line of stdout is the address.
    let filter = EnvFilter::try_from_env("GATECRASH_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let color = anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(color);
    if arguments.log_json {
        builder.json().init()
    } else {
        builder.init()
    }

    let config = match Config::from_env(arguments.dialect) {
        Ok(config) => config,
        Err(error) => {
            complain(&error.to_string());
            return Exit::Usage;
        }
    };
    let mut tls = None;
    if arguments.tls {
        let host = arguments.host;
        let name = if host.is_loopback() || host.is_unspecified() { "localhost".to_owned() } else { host.to_string() };
        let made = match certificates::make(&name, arguments.fault == Some(Fault::ExpiredCertificate)) {
            Ok(made) => made,
            Err(error) => {
                complain(&format!("no certificate can be made: {error}"));
                return Exit::OurFault;
            }
        };
        let path = &arguments.tls_ca_out;
        if let Err(error) = file::write_whole(path, made.authority.as_bytes()) {
            complain(&format!("cannot write the authority's certificate `{}`: {error}", path.display()));
            return Exit::Usage;
        }
        tls = Some(made.server);
    }
    let config = Config {
        tls,
        refusal: arguments.refusal,
        fault: arguments.fault,
        leeway_s: arguments.leeway,
        listen: SocketAddr::new(arguments.host, arguments.port),
        ..config
    };
    let listen = config.listen;
    let server = match Server::bind(config).await {
        Ok(server) => server,
        Err(error) => {
            complain(&format!("cannot listen on {listen}: {error}; --port 0 takes a free port"));
            return Exit::Usage;
        }
    };
    if let Some(fault) = arguments.fault {
        complain(&format!("this server is wrong on purpose: {fault}"));
    }
    // Whoever has read the address may ask it to stop at once.
    let stop = signals::stop();
    say(&format!("listening on {}\n", server.url()));
    if arguments.tls {
        let path = arguments.tls_ca_out.display();
        say(&format!("its authority is in {path}: gatecrash run --ca {path}\n"));
    }
    server.run(stop).await;
    Exit::Good
}
