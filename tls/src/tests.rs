use std::{fs, io::Cursor, path::Path};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConnection,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
};
use wakumix_telemetry::Telemetry;

use super::*;
use crate::testing::{Authority, ENDED, Issued, NOT_YET, VALID};

/// The first of January 2026.
const NOW: u64 = 1_767_225_600;
const NAME: &str = "node.example.org";

fn telemetry() -> Telemetry {
    Telemetry::new([&METRICS]).unwrap()
}

fn served(files: &Files, telemetry: &Telemetry) -> Arc<ServedCertificate> {
    ServedCertificate::load(Surface::WebSocket, files.clone(), telemetry).unwrap()
}

/// A client that trusts an authority, and shows a certificate if it has one.
fn client(authority: &Authority, own: Option<&Issued>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(authority.der())).unwrap();
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    match own {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let key = PrivateKeyDer::try_from(own.key_der.clone()).unwrap();
            builder.with_client_auth_cert(vec![own.der.clone().into()], key).unwrap()
        }
    }
}

/// Shakes hands in memory; the certificate that the client was shown, and whether the server saw one.
fn shake(server: &Arc<ServerConfig>, client: ClientConfig, name: &str) -> Result<(Vec<u8>, bool), rustls::Error> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        let mut bytes = Cursor::new(bytes);
        while server.read_tls(&mut bytes).unwrap() > 0 {}
        server.process_new_packets()?;
        let mut bytes = Vec::new();
        server.write_tls(&mut bytes).unwrap();
        let mut bytes = Cursor::new(bytes);
        while client.read_tls(&mut bytes).unwrap() > 0 {}
        client.process_new_packets()?;
    }
    let shown = client.peer_certificates().unwrap()[0].to_vec();
    Ok((shown, server.peer_certificates().is_some()))
}

#[test]
fn a_new_pair_is_served_to_the_next_handshake() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("test"));
    let (first, second) = (authority.issue(&[NAME], VALID), authority.issue(&[NAME], VALID));
    let files = first.write(folder.path());
    let telemetry = telemetry();
    let served = served(&files, &telemetry);
    let server = Arc::new(server_config(Arc::clone(&served), None).unwrap());
    let shown = || shake(&server, client(&authority, None), NAME).unwrap().0;
    assert!(shown() == first.der);
    assert_eq!(served.look(NOW), Look::Same);
    second.write(folder.path());
    assert!(shown() == first.der, "nobody has looked");
    assert_eq!(served.look(NOW), Look::Taken);
    assert!(shown() == second.der);
    let page = telemetry.render();
    assert!(page.contains("waku_mix_certificate_reloads_total{surface=\"websocket\",outcome=\"taken\"} 1"), "{page}");
    // The first of January 2120.
    let end = "waku_mix_certificate_end_timestamp_seconds{surface=\"websocket\"} 4733510400";
    assert!(page.contains(end), "{page}");
    let other = Authority::new("another");
    assert!(shake(&server, client(&other, None), NAME).is_err());
    assert!(shake(&server, client(&authority, None), "other.example.org").is_err());
}

#[test]
fn a_broken_file_is_reported_once_and_the_certificate_before_it_stays() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("test"));
    let (first, second) = (authority.issue(&[NAME], VALID), authority.issue(&[NAME], VALID));
    let files = Files { name: Some(NAME.to_owned()), ..first.write(folder.path()) };
    let telemetry = telemetry();
    let served = served(&files, &telemetry);
    let server = Arc::new(server_config(Arc::clone(&served), None).unwrap());
    let is_first = || shake(&server, client(&authority, None), NAME).unwrap().0 == first.der;
    let other_name = authority.issue(&["other.example.org"], VALID);
    let breaks: [&dyn Fn(); 6] = [
        &|| fs::write(&files.certificate, "").unwrap(),
        // Half of a renewal: the new certificate beside the old key.
        &|| fs::write(&files.certificate, &second.certificate).unwrap(),
        &|| fs::remove_file(&files.key).unwrap(),
        &|| drop(authority.issue(&[NAME], ENDED).write(folder.path())),
        &|| drop(authority.issue(&[NAME], NOT_YET).write(folder.path())),
        &|| drop(other_name.write(folder.path())),
    ];
    for (index, break_it) in breaks.iter().enumerate() {
        break_it();
        let looks = [(); 4].map(|()| served.look(NOW));
        assert_eq!(looks, [Look::Doubtful, Look::Refused, Look::Same, Look::Same], "{index}");
        assert!(is_first(), "{index}");
        assert_eq!(served.problem(NOW), None, "what is served is good");
        first.write(folder.path());
        assert_eq!(served.look(NOW), Look::Same, "{index}");
    }
    let refused = "waku_mix_certificate_reloads_total{surface=\"websocket\",outcome=\"refused\"} 6";
    assert!(telemetry.render().contains(refused));
    // Written one after the other: nobody is told of the moment in between.
    fs::write(&files.certificate, &second.certificate).unwrap();
    assert_eq!(served.look(NOW), Look::Doubtful);
    fs::write(&files.key, &second.key).unwrap();
    assert_eq!(served.look(NOW), Look::Taken);
    assert!(telemetry.render().contains(refused));
}

#[test]
fn one_that_begins_later_is_taken_when_it_begins() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("test"));
    let files = authority.issue(&[NAME], VALID).write(folder.path());
    let served = served(&files, &telemetry());
    authority.issue(&[NAME], NOT_YET).write(folder.path());
    assert_eq!([served.look(NOW), served.look(NOW)], [Look::Doubtful, Look::Refused]);
    // The first of July 2115.
    assert_eq!(served.look(4_591_555_200), Look::Taken);
}

#[test]
fn one_that_has_ended_is_served_and_makes_the_node_unready() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("test"));
    let files = authority.issue(&[NAME], ENDED).write(folder.path());
    let served = served(&files, &telemetry());
    let problem = served.problem(NOW).unwrap();
    assert_eq!(problem, "tls: the certificate of websocket-secure-cert-path ended on 2021-01-01 00:00 UTC");
    let error = files.in_time(&files.load().unwrap(), NOW).unwrap_err();
    assert!(matches!(error, CertificateError::Ended { .. }) && error.help().contains("renew"), "{error}");
    authority.issue(&[NAME], VALID).write(folder.path());
    assert_eq!((served.look(NOW), served.problem(NOW)), (Look::Taken, None));
}

#[track_caller]
fn is_refused(files: &Files, parts: &[&str]) {
    let error = files.load().unwrap_err();
    let said = format!("{error}; {}", error.help());
    for part in parts {
        assert!(said.contains(part), "{part:?} is missing: {said}");
    }
    let text = fs::read_to_string(&files.key).unwrap_or_default();
    assert!(text.lines().filter(|line| line.len() > 30).all(|line| !said.contains(line)), "no content: {said}");
}

#[test]
fn every_error_names_the_file_what_is_wrong_and_what_to_do() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("test"));
    let (issued, other) = (authority.issue(&[NAME, "192.0.2.1"], VALID), authority.issue(&[NAME], VALID));
    let fresh = || issued.write(folder.path());
    let files = fresh();
    // As some write both: else the first thing that is wrong is who may read it.
    #[cfg(unix)]
    fs::set_permissions(&files.certificate, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let swapped = Files { certificate: files.key.clone(), key: files.certificate.clone(), name: None };
    is_refused(&swapped, &["key.pem", "no certificate", "a private key", "fullchain.pem"]);
    let keyless = Files { key: files.certificate.clone(), ..files.clone() };
    is_refused(&keyless, &["certificate.pem", "no private key", "a certificate", "privkey.pem"]);
    is_refused(
        &Files { certificate: folder.path().join("none.pem"), ..files.clone() },
        &["none.pem", "does not exist"],
    );
    is_refused(&Files { certificate: folder.path().to_owned(), ..files.clone() }, &["cannot be read"]);
    fs::write(&files.key, &other.key).unwrap();
    is_refused(&files, &["key.pem", "certificate.pem", "is not that of", "issued together"]);
    fs::write(&files.key, "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n")
        .unwrap();
    is_refused(&files, &["key.pem", "with a password", "without a password"]);
    fs::write(&files.key, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").unwrap();
    is_refused(&files, &["key.pem", "not supported, or it is damaged"]);
    fs::write(&files.key, &issued.key[..issued.key.len() / 2]).unwrap();
    is_refused(&files, &["key.pem", "a block does not end", "-----END"]);
    fresh();
    fs::write(&files.certificate, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    is_refused(&files, &["certificate.pem", "not an X.509 certificate"]);
    fs::write(&files.certificate, vec![b'x'; (256 << 10) + 1]).unwrap();
    is_refused(&files, &["certificate.pem", "longer than 262144 bytes"]);
    let named = |name: &str| Files { name: Some(name.to_owned()), ..fresh() };
    is_refused(
        &named("other.example.org"),
        &["not for other.example.org", "node.example.org, 192.0.2.1", "issued for"],
    );
    assert!(named(NAME).load().is_ok() && named("192.0.2.1").load().is_ok());
    #[cfg(unix)]
    {
        fs::set_permissions(&files.key, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        is_refused(&files, &["key.pem", "mode 0644", "chmod o="]);
    }
}

#[test]
fn a_client_certificate_of_another_authority_ends_the_handshake() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, clients, unknown) = (Authority::new("nodes"), Authority::new("clients"), Authority::new("nobody"));
    let served = served(&authority.issue(&[NAME], VALID).write(folder.path()), &telemetry());
    let path = folder.path().join("clients.pem");
    fs::write(&path, clients.pem()).unwrap();
    let client_ca = ClientCa::load(&path).unwrap();
    let server = Arc::new(server_config(served, Some(&client_ca)).unwrap());
    let with = |own: Option<&Issued>| shake(&server, client(&authority, own), NAME).map(|(_, is_shown)| is_shown);
    assert_eq!(with(None), Ok(false));
    assert_eq!(with(Some(&clients.issue(&["operator"], VALID))), Ok(true));
    assert!(with(Some(&unknown.issue(&["operator"], VALID))).is_err());
    assert!(with(Some(&clients.issue(&["operator"], ENDED))).is_err());
    let refused = |content: &str, part: &str| {
        fs::write(&path, content).unwrap();
        let error = ClientCa::load(&path).unwrap_err();
        let said = format!("{error}; {}", error.help());
        assert!(said.contains("clients.pem") && said.contains(part), "{said}");
    };
    refused("", "no certificate");
    refused("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "cannot be used");
    assert!(matches!(ClientCa::load(Path::new("/nowhere/ca.pem")), Err(CertificateError::Missing(_))));
}

#[test]
fn dates_are_those_of_the_calendar() {
    for (unix, words) in [
        (0, "1970-01-01 00:00 UTC"),
        (951_782_399, "2000-02-28 23:59 UTC"),
        (951_782_400, "2000-02-29 00:00 UTC"),
        (4_107_542_400, "2100-03-01 00:00 UTC"),
        (-1, "1969-12-31 23:59 UTC"),
    ] {
        assert_eq!(files::day(unix), words);
    }
}
