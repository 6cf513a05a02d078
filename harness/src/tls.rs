//! Who vouches for a server: the authorities of this machine and those of a profile.
//!
//! A certificate is looked at on every connection and what is wrong with it is written down. Whether the connection may
//! go on all the same is the caller's to say. No socket here; `run` dials.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::client::{Resumption, WebPkiServerVerifier};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, aws_lc_rs, verify_tls12_signature as tls12_signature, verify_tls13_signature as tls13_signature,
};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

/// Those whose word on a certificate counts.
#[derive(Clone)]
pub struct Trust {
    provider: Arc<CryptoProvider>,
    /// None where nobody is trusted.
    verifier: Option<Arc<WebPkiServerVerifier>>,
    strict: bool,
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust")
            .field("anyone", &self.verifier.is_some())
            .field("strict", &self.strict)
            .finish_non_exhaustive()
    }
}

impl Trust {
    /// The authorities of this machine and those in `pem`, a text of certificates. Strict.
    ///
    /// # Errors
    ///
    /// When there is no certificate in the text, or one that cannot be read.
    pub fn new(pem: Option<&[u8]>) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        // A machine without authorities, such as a small container, trusts nobody but those of the profile.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(pem) = pem {
            let mut count = 0;
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|error| format!("it is no PEM: {error}"))?;
                roots.add(certificate).map_err(|error| format!("a certificate in it cannot be read: {error}"))?;
                count += 1;
            }
            if count == 0 {
                return Err("no certificate in PEM stands in it".to_owned());
            }
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().ok();
        Ok(Self { provider, verifier, strict: true })
    }

    /// Whether a certificate that does not hold ends the handshake. Otherwise it is only told.
    #[must_use]
    pub fn strict(self, strict: bool) -> Self {
        Self { strict, ..self }
    }

    pub(crate) fn is_strict(&self) -> bool {
        self.strict
    }

    /// What a client needs to greet `host`, by the server name `named`: none sends no name.
    ///
    /// # Errors
    ///
    /// When `host` or `named` can be no server name.
    pub(crate) fn greeting(&self, host: &str, named: Option<&str>) -> Result<Greeting, String> {
        let name = |text: &str| {
            ServerName::try_from(text.to_owned()).map_err(|_| format!("`{text}` is neither a host name nor an address"))
        };
        let (host, server_name) = (name(host)?, name(named.unwrap_or(host))?);
        let check = Arc::new(Check { trust: self.clone(), host, found: Mutex::new(None) });
        let versions =
            ClientConfig::builder_with_provider(Arc::clone(&self.provider)).with_safe_default_protocol_versions();
        let mut config = versions
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&check) as Arc<dyn ServerCertVerifier>)
            .with_no_client_auth();
        config.enable_sni = named.is_some();
        // Each connection shows its certificate.
        config.resumption = Resumption::disabled();
        // As a browser says for wss; nothing here speaks HTTP/2.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Greeting { config: Arc::new(config), server_name, check })
    }
}

/// What is said to a server in the handshake.
pub(crate) struct Greeting {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) server_name: ServerName<'static>,
    check: Arc<Check>,
}

impl Greeting {
    /// What was found wrong with the certificate, once it was seen.
    pub(crate) fn certificate(&self) -> Option<Result<(), String>> {
        self.check.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Looks at the certificate of one connection.
#[derive(Debug)]
struct Check {
    trust: Trust,
    host: ServerName<'static>,
    found: Mutex<Option<Result<(), String>>>,
}

impl ServerCertVerifier for Check {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = match &self.trust.verifier {
            Some(verifier) => verifier.verify_server_cert(end_entity, intermediates, &self.host, ocsp_response, now),
            None => Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)),
        };
        let found = verified.as_ref().map(|_| ()).map_err(flaw);
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
        if self.trust.strict { verified } else { Ok(ServerCertVerified::assertion()) }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        tls12_signature(message, certificate, signed, &self.trust.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        tls13_signature(message, certificate, signed, &self.trust.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.trust.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// What is wrong with a certificate, in words.
fn flaw(error: &Error) -> String {
    let Error::InvalidCertificate(why) = error else {
        return error.to_string();
    };
    match why {
        CertificateError::Expired => "it has expired".to_owned(),
        CertificateError::ExpiredContext { time, not_after } => {
            format!("it has expired, {}", ago(time.as_secs().saturating_sub(not_after.as_secs())))
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "it is not valid yet".to_owned(),
        CertificateError::NotValidForName => "it is for another name".to_owned(),
        CertificateError::NotValidForNameContext { presented, .. } => {
            // As many as fit a line, each out of its debug text `DnsName("...")`.
            let bare = |name: &'_ String| name.split('"').nth(1).unwrap_or(name).to_owned();
            let names: Vec<String> = presented.iter().map(bare).take(5).collect();
            format!("it is for another name ({})", if names.is_empty() { "none".to_owned() } else { names.join(", ") })
        }
        CertificateError::UnknownIssuer => "nobody who is trusted here vouches for it".to_owned(),
        CertificateError::Revoked => "it was revoked".to_owned(),
        CertificateError::BadEncoding => "it cannot be read".to_owned(),
        CertificateError::BadSignature => "its signature is wrong".to_owned(),
        other => {
            let text = format!("{other:?}");
            if text.contains("CaUsedAsEndEntity") {
                return "it is the certificate of an authority (CA:TRUE), which is none of a server".to_owned();
            }
            if text.contains("UnsupportedCertVersion") {
                return "it is of version 1, without a name that could be checked".to_owned();
            }
            text
        }
    }
}

fn ago(seconds: u64) -> String {
    match seconds / 86_400 {
        0 => "today".to_owned(),
        1 => "a day ago".to_owned(),
        days => format!("{days} days ago"),
    }
}
