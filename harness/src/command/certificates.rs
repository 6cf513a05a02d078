//! An authority and a server certificate for the bundled server, made at its start.
//!
//! Nothing of them outlives the process but the authority's certificate, where somebody asks for it.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};

use gatecrash_reference_server::Tls;

/// What was made.
#[derive(Debug)]
pub struct Certificates {
    /// The certificate of the authority, in PEM.
    pub authority: String,
    /// What the server shows.
    pub server: Tls,
}

/// Makes a certificate for `host` and the addresses of this machine, whose time is over if it is to be `expired`.
///
/// # Errors
///
/// When `host` can stand in no certificate, or the library cannot make a key.
pub fn make(host: &str, expired: bool) -> Result<Certificates, rcgen::Error> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.distinguished_name.push(DnType::CommonName, "gatecrash authority of one run");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority_key = KeyPair::generate()?;
    let authority_pem = authority.self_signed(&authority_key)?.pem();
    let issuer = Issuer::new(authority, authority_key);

    let names = [host, "127.0.0.1", "::1"].map(str::to_owned).to_vec();
    let mut server = CertificateParams::new(names)?;
    server.distinguished_name.push(DnType::CommonName, "gatecrash reference server");
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    if expired {
        (server.not_before, server.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    }
    let server_key = KeyPair::generate()?;
    let chain = server.signed_by(&server_key, &issuer)?.pem();
    let server = Tls { host: host.to_owned(), chain, key: server_key.serialize_pem() };
    Ok(Certificates { authority: authority_pem, server })
}
