//! Certificates that are named, missing or wrong, and what REST is in the open.

use std::path::Path;

use wakumix_tls::{
    Files,
    testing::{Authority, ENDED, VALID},
};

use super::*;

const NAME: &str = "node.example.org";

fn files(names: &[&str], years: (i32, i32)) -> (tempfile::TempDir, Files) {
    let folder = tempfile::tempdir().unwrap();
    let files = Authority::new("test").issue(names, years).write(folder.path());
    (folder, files)
}

fn websocket(files: &Files) -> Setup {
    Setup::new()
        .flag("websocket-secure-support", "true")
        .flag("websocket-secure-cert-path", text(&files.certificate))
        .flag("websocket-secure-key-path", text(&files.key))
}

fn http(files: &Files) -> Setup {
    Setup::new().flag("rest-tls-cert-path", text(&files.certificate)).flag("rest-tls-key-path", text(&files.key))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[track_caller]
fn says(setup: &Setup, parts: &[&str]) {
    let said = setup.problem();
    for part in parts.iter().chain(&["\n  help: "]) {
        assert!(said.contains(part), "{part:?} is missing:\n{said}");
    }
}

#[track_caller]
fn warns(setup: &Setup, parts: &[&str]) {
    let warnings = setup.load().warnings;
    let is_said = warnings.iter().any(|warning| parts.iter().all(|part| warning.contains(part)));
    assert!(is_said, "{parts:?}: {warnings:#?}");
}

fn announced(setup: &Setup) -> Vec<String> {
    setup.load().config.announced_addresses().iter().map(ToString::to_string).collect()
}

#[test]
fn websocket_over_tls_takes_the_port_of_the_plain_one_unless_it_has_its_own() {
    let (_folder, files) = files(&[NAME], VALID);
    let named = || websocket(&files).flag("dns4-domain-name", NAME);
    let listens = |setup: &Setup| -> Vec<String> {
        setup.load().config.listen_addresses().iter().map(ToString::to_string).collect()
    };
    assert_eq!(listens(&named()), ["/ip4/0.0.0.0/tcp/60000", "/ip4/0.0.0.0/tcp/8000/wss"]);
    // As in `wakunode2`: one port, and TLS alone.
    assert_eq!(listens(&named().flag("websocket-support", "true")).len(), 2);
    let both = || named().flag("websocket-support", "true").flag("websocket-secure-port", "443");
    let all = ["/ip4/0.0.0.0/tcp/60000", "/ip4/0.0.0.0/tcp/8000/ws", "/ip4/0.0.0.0/tcp/443/wss"];
    assert_eq!(listens(&both()), all);
    // Under its address no page takes the certificate of a name.
    assert_eq!(
        announced(&both().flag("nat", "extip:203.0.113.7")),
        [
            "/dns4/node.example.org/tcp/60000",
            "/dns4/node.example.org/tcp/8000/ws",
            "/dns4/node.example.org/tcp/443/wss",
            "/ip4/203.0.113.7/tcp/60000",
            "/ip4/203.0.113.7/tcp/8000/ws",
        ]
    );
    assert!(
        announced(&websocket(&files).flag("nat", "extip:203.0.113.7"))
            .contains(&"/ip4/203.0.113.7/tcp/8000/wss".to_owned())
    );
    let taken = named().flag("websocket-support", "true").flag("websocket-secure-port", "8000");
    says(&taken, &["`websocket-port` (default)", "`websocket-secure-port` in flag", "port 8000"]);
    let shifted = named().flag("websocket-secure-port", "65535").flag("ports-shift", "1");
    says(&shifted, &["`websocket-secure-port` in flag", "no port above 65535"]);
}

#[test]
fn a_certificate_that_cannot_be_served_is_refused_with_its_file_and_what_to_do() {
    let (folder, files) = files(&[NAME], VALID);
    says(
        &Setup::new().flag("websocket-secure-support", "true"),
        &["`websocket-secure-cert-path` is not set", "tcp/443/wss"],
    );
    let without_key = Setup::new()
        .flag("websocket-secure-support", "true")
        .flag("websocket-secure-cert-path", text(&files.certificate));
    says(&without_key, &["`websocket-secure-key-path` is not set"]);
    let other_name = websocket(&files).flag("dns4-domain-name", "other.example.org");
    says(&other_name, &["`websocket-secure-cert-path` in flag", "not for other.example.org, but for node.example.org"]);
    let missing = folder.path().join("nowhere.pem");
    says(
        &http(&Files { key: missing, ..files.clone() }),
        &["`rest-tls-key-path` in flag", "nowhere.pem", "does not exist"],
    );
    let other = Authority::new("another").issue(&[NAME], VALID);
    super::write_private(&files.key, &other.key);
    for setup in [websocket(&files), http(&files)] {
        says(&setup, &["is not that of the certificate", "issued together"]);
    }
    says(
        &Setup::new().flag("rest-tls-client-ca-path", "ca.pem"),
        &["`rest-tls-client-ca-path` in flag", "`rest-tls-cert-path` is not set"],
    );
    let (_folder, files) = self::files(&[NAME], VALID);
    says(
        &http(&files).flag("rest-tls-client-ca-path", text(&files.key)),
        &["`rest-tls-client-ca-path`", "no certificate", "authorities"],
    );
    // REST has no name of its own.
    http(&files).flag("dns4-domain-name", "other.example.org").load();
}

#[test]
fn a_certificate_that_has_ended_is_warned_of_and_keys_without_effect_are() {
    let (_folder, files) = files(&[NAME], ENDED);
    let parts = ["ended on 2021-01-01", "clients refuse it", "renew it"];
    warns(&websocket(&files), &parts);
    warns(&http(&files), &parts);
    let off = Setup::new().flag("websocket-secure-cert-path", text(&files.certificate));
    warns(&off, &["`websocket-secure-cert-path` in flag", "has no effect: websocket-secure-support is false"]);
    warns(&http(&files).flag("rest", "false"), &["`rest-tls-key-path` in flag", "has no effect"]);
}

#[test]
fn rest_in_the_open_reads_alone_until_the_operator_says_otherwise() {
    let open = || Setup::new().flag("rest-address", "0.0.0.0");
    let takes_changes = |setup: &Setup| setup.load().config.takes_changes();
    assert!(takes_changes(&Setup::new()) && !takes_changes(&open()));
    warns(&open(), &["`rest-address` in flag", "REST only reads there", "rest-allow-insecure = true"]);
    let knowingly = open().flag("rest-allow-insecure", "true");
    assert!(takes_changes(&knowingly));
    warns(&knowingly, &["`rest-allow-insecure` in flag", "is true: whoever reaches it publishes"]);
    // Tools of the public networks expect it.
    let wakunode2 = open().flag("preset", "logos.dev");
    assert!(takes_changes(&wakunode2));
    warns(&wakunode2, &["`rest-allow-insecure` in preset logos.dev", "whoever reaches it"]);
    assert!(!takes_changes(&open().flag("preset", "logos.dev").flag("rest-allow-insecure", "false")));
    let (folder, files) = files(&[NAME], VALID);
    let secure = http(&files).flag("rest-address", "0.0.0.0");
    assert!(takes_changes(&secure));
    assert!(!secure.load().warnings.iter().any(|warning| warning.contains("rest-address")));
    let token = folder.path().join("token");
    super::write_private(&token, "a-token-of-the-tests");
    assert!(takes_changes(&open().flag("rest-token-file", text(&token))));
    // Clients with certificates are operators.
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, Authority::new("clients").pem()).unwrap();
    let mutual = http(&files).flag("rest-address", "0.0.0.0").flag("rest-tls-client-ca-path", text(&ca));
    assert!(mutual.load().config.serves_admin() && !secure.load().config.serves_admin());
    mutual.flag("rest-admin", "true").load();
}
