//! Makes a connection: TCP, and TLS over it where the door asks for it. What goes wrong is said in words.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::{AlertDescription, Error, InvalidMessage};

use crate::observation::Secured;
use crate::target::{Endpoint, Target};
use crate::tls::Trust;

/// Where a connection goes, and how it begins.
#[derive(Debug)]
pub(super) struct Door<'a> {
    endpoint: &'a Endpoint,
    trust: Option<&'a Trust>,
    beginning: Beginning<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Beginning<'a> {
    /// As the URL says.
    Declared,
    /// By another server name than the host, or by none.
    Named(Option<&'a str>),
    /// At a port that need not be there, as the endpoint says.
    Side,
    /// With bytes of the caller, whatever the URL says.
    ByHand,
}

impl<'a> Door<'a> {
    /// The declared endpoint.
    pub(super) fn of(target: &'a Target) -> Self {
        Self { endpoint: &target.endpoint, trust: target.trust.as_ref(), beginning: Beginning::Declared }
    }

    /// The same endpoint under another server name; an empty one sends none.
    pub(super) fn named(self, name: &'a str) -> Self {
        Self { beginning: Beginning::Named(Some(name).filter(|name| !name.is_empty())), ..self }
    }

    /// Another endpoint of the same target.
    pub(super) fn at(self, endpoint: &'a Endpoint) -> Self {
        Self { endpoint, ..self }
    }

    /// Another endpoint, where nobody needs to serve.
    pub(super) fn side(self, endpoint: &'a Endpoint) -> Self {
        Self { endpoint, beginning: Beginning::Side, ..self }
    }

    /// The same port, without a word said.
    pub(super) fn by_hand(self) -> Self {
        Self { beginning: Beginning::ByHand, ..self }
    }

    pub(super) fn greets_by_hand(&self) -> bool {
        matches!(self.beginning, Beginning::ByHand)
    }

    /// Whether finding nobody there is an answer.
    pub(super) fn may_be_shut(&self) -> bool {
        matches!(self.beginning, Beginning::Named(_) | Beginning::Side)
    }
}

/// Dials. Every error is told in words.
pub(super) async fn dial(door: &Door<'_>) -> Result<(Stream, Option<Secured>), String> {
    let endpoint = door.endpoint;
    let stream =
        TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await.map_err(|error| error.to_string())?;
    // Without it a burst of small frames waits for acknowledgements (Nagle and delayed ACK).
    let _ = stream.set_nodelay(true);
    if !endpoint.tls || door.greets_by_hand() {
        return Ok((Stream::Plain(stream), None));
    }
    let trust = door.trust.ok_or("nobody is trusted to vouch for it")?;
    let named = match door.beginning {
        Beginning::Named(name) => name,
        _ => Some(endpoint.host.as_str()),
    };
    let greeting = trust.greeting(&endpoint.host, named)?;
    let connector = TlsConnector::from(greeting.config.clone());
    match connector.connect(greeting.server_name.clone(), stream).await {
        Ok(stream) => {
            let version = stream.get_ref().1.protocol_version();
            let version = version.and_then(|version| version.as_str()).unwrap_or("TLS").to_owned();
            let certificate = greeting.certificate().unwrap_or_else(|| Err("none was shown".to_owned()));
            Ok((Stream::Tls(Box::new(stream)), Some(Secured { version, certificate })))
        }
        Err(error) => Err(match greeting.certificate() {
            Some(Err(flaw)) if trust.is_strict() => format!(
                "the certificate of {} does not hold: {flaw}; no token is sent to whom nobody vouches for. If it is \
                 from an authority of your own, name that by `ca: FILE` in the profile or --ca FILE",
                endpoint.host
            ),
            _ => failed(&error),
        }),
    }
}

/// Why a TLS handshake came to nothing.
fn failed(error: &io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
            "the answer to the TLS greeting is not TLS; is it ws:// rather than wss://?".to_owned()
        }
        Some(Error::AlertReceived(AlertDescription::ProtocolVersion)) => {
            "the server refused the TLS handshake: it speaks neither TLS 1.2 nor TLS 1.3".to_owned()
        }
        Some(Error::AlertReceived(alert)) => {
            format!("the server refused the TLS handshake: alert {}, {alert:?}", u8::from(*alert))
        }
        Some(other) => format!("the TLS handshake failed: {other}"),
        None if error.kind() == ErrorKind::UnexpectedEof => {
            "the server ended the connection in the TLS handshake; is it ws:// rather than wss://?".to_owned()
        }
        None => format!("the TLS handshake failed: {error}"),
    }
}

/// A connection, encrypted or not.
#[derive(Debug)]
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// From now on its end is a reset of the TCP connection.
    pub(super) fn reset_on_drop(&self) {
        let tcp = match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        };
        let _ = tcp.set_zero_linger();
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
