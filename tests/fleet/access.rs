//! Users, passwords, permissions and TLS of the servers.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use crate::common::wait_for;
use crate::engine::{Engine, Options};
use crate::fleet::Fleet;
use crate::nodes::{Node, Settings, new_secret};

/// Users of the servers: `admin` for the harness, and for nodes `rollcast` with the permissions of
/// the guide, `reader` without the permission to publish, and `creator` with the permission to create.
const USERS: &str = r#"authorization {
  node = {
    publish: ["rollcast.ROLLS", "$JS.API.STREAM.INFO.ROLLS", "$JS.API.STREAM.MSG.GET.ROLLS"]
    subscribe: ["rollcast.ROLLS", "_INBOX.>"]
  }
  reader = {
    publish: ["$JS.API.STREAM.INFO.ROLLS", "$JS.API.STREAM.MSG.GET.ROLLS"]
    subscribe: ["rollcast.ROLLS", "_INBOX.>"]
  }
  creator = {
    publish: ["rollcast.ROLLS", "$JS.API.STREAM.INFO.ROLLS", "$JS.API.STREAM.MSG.GET.ROLLS",
      "$JS.API.STREAM.CREATE.ROLLS", "$JS.API.STREAM.DELETE.ROLLS"]
    subscribe: ["rollcast.ROLLS", "_INBOX.>"]
  }
  users = [
    { user: admin, password: "of the harness" }
    { user: rollcast, password: "of a node", permissions: $node }
    { user: reader, password: "of a reader", permissions: $reader }
    { user: creator, password: "of a creator", permissions: $creator }
  ]
}"#;

/// The lines of a node's configuration for a user.
fn user(name: &str) -> String {
    format!("user = '{name}'\npassword_file = '{name}.password'")
}

/// Writes all passwords beside a node's configuration.
fn write_passwords(folder: &Path) {
    for (user, password) in [
        ("rollcast", "of a node"),
        ("reader", "of a reader"),
        ("creator", "of a creator"),
        ("wrong", "of nobody"),
    ] {
        write_private(&folder.join(format!("{user}.password")), &format!("{password}\n"));
    }
}

fn write_private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// A node that is not started, with these lines in its fleet table.
fn node(engine: &Engine, secret: &str, fleet: &str) -> Node {
    let settings = Settings { fleet: fleet.into(), ..Settings::of(engine) };
    let node = Node::new(secret, settings);
    write_passwords(node.instance.path());
    node
}

fn with_users() -> Engine {
    let login = Some(("admin", "of the harness"));
    Engine::start_with(1, Options { configuration: USERS.into(), login, is_tls: false })
}

/// Runs `fleet create` as this user. It must succeed or fail at once.
fn create_as(node: &mut Node, name: &str, options: &[&str]) -> (i32, String) {
    let settings = Settings { fleet: user(name), ..node.settings.clone() };
    let before = node.settings.clone();
    node.configure(settings);
    let mut arguments = vec!["fleet", "create", "--replicas", "1"];
    arguments.extend(options);
    let (code, stdout, stderr) = node.run(&arguments);
    node.configure(before);
    (code, stdout + &stderr)
}

#[test]
fn the_permissions_of_the_guide_suffice_and_a_user_without_publish_follows_and_never_rolls() {
    let engine = with_users();
    let secret = new_secret();
    let mut writer = node(&engine, &secret, &user("rollcast"));
    writer.start();
    let (code, output) = create_as(&mut writer, "rollcast", &[]);
    assert!(code == 1 && output.contains("may not"), "{code}: {output}");
    let (code, output) = create_as(&mut writer, "creator", &[]);
    assert_eq!(code, 0, "{output}");
    let (code, output) = create_as(&mut writer, "rollcast", &["--replace"]);
    assert!(code == 1 && output.contains("may not"), "{code}: {output}");
    // The node may store a roll only after the command has read its newest one.
    wait_for("a log in place of the first one", || {
        let (code, output) = create_as(&mut writer, "creator", &["--replace"]);
        println!("{code}: {output}");
        (code == 0).then_some(())
    });

    let mut reader = node(&engine, &secret, &user("reader"));
    writer.wait_until_it_follows();
    // The log begins after the rolls of the one that it replaced.
    reader.take_backup_of(&writer);
    reader.start();
    reader.wait_until_it_follows();
    writer.wait_for_more(5);
    reader.wait_for_roll(writer.head());
    // Without the writer nobody rolls, however late the next roll is.
    writer.stop();
    let head = writer.head();
    reader.wait_for_roll(head);
    std::thread::park_timeout(std::time::Duration::from_secs(3));
    assert_eq!((reader.head(), reader.state().as_str()), (head, "following"));
    assert_eq!(engine.entries().last().unwrap().sequence, head as u64);
    // Control: a node that may publish takes over.
    writer.start();
    reader.wait_for_roll(head + 3);
}

#[test]
fn a_wrong_password_a_missing_user_and_an_unknown_user_are_refused_with_the_keys_to_check() {
    let engine = with_users();
    let secret = new_secret();
    let mut wrong = user("rollcast");
    wrong = wrong.replace("rollcast.password", "wrong.password");
    for lines in [wrong, String::new(), user("wrong")] {
        let mut node = node(&engine, &secret, &lines);
        node.start();
        let reason = node.wait_for_refusal();
        assert!(reason.contains("`user`") && reason.contains("`password_file`"), "{reason}");
        let text = format!("{reason}{:?}", node.log());
        assert!(!text.contains("of nobody") && !text.contains("of a node"), "{text}");
        assert_eq!(node.get("/").0, 200);
        // Control: the right user.
        node.stop();
        let settings = Settings { fleet: user("creator"), ..node.settings.clone() };
        node.configure(settings);
        node.create(&["--replicas", "1", "--replace"]);
        node.start();
        node.wait_until_it_follows();
    }
}

/// Two authorities, and a certificate of the first one for 127.0.0.1.
fn certificates() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let authority = |name: &str| {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        fs::write(folder.path().join(name), certificate.pem()).unwrap();
        Issuer::new(params, key)
    };
    let ours = authority("ca.pem");
    authority("other-ca.pem");
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".into()]).unwrap();
    let certificate = params.signed_by(&key, &ours).unwrap();
    fs::write(folder.path().join("server.pem"), certificate.pem()).unwrap();
    fs::write(folder.path().join("server-key.pem"), key.serialize_pem()).unwrap();
    folder
}

#[test]
fn tls_with_an_own_authority_works_and_another_authority_is_refused_with_the_reason() {
    let folder = certificates();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let configuration = format!(
        "tls {{ cert_file: {:?}, key_file: {:?} }}",
        path("server.pem"),
        path("server-key.pem")
    );
    let options = Options { configuration, login: None, is_tls: true };
    let ca = format!("ca = {:?}", path("ca.pem"));
    let fleet = Fleet::start_alone(options, |settings| settings.fleet = ca.clone());
    fleet.nodes[0].wait_for_roll(5);
    for (lines, expected) in [
        (format!("ca = {:?}", path("other-ca.pem")), "certificate"),
        (String::new(), "certificate"),
        (format!("ca = {:?}", path("missing.pem")), "missing.pem"),
    ] {
        let mut node = node(&fleet.engine, &fleet.secret, &lines);
        node.start();
        wait_for(&format!("`{expected}` in the reason"), || {
            let status = node.status();
            assert_ne!(status["state"], "following");
            let reason = status["reason"].as_str().unwrap().to_lowercase();
            reason.contains(expected).then_some(())
        });
        let (_, ready) = node.get("/readyz");
        assert!(ready.to_lowercase().contains(expected), "{ready}");
        assert_eq!((node.get("/").0, node.head()), (200, 0));
    }
    // `nats://` does not speak to a server that demands TLS without it.
    let mut settings = fleet.nodes[0].settings.clone();
    settings.servers = settings.servers.iter().map(|url| url.replace("tls:", "nats:")).collect();
    settings.fleet = String::new();
    let mut node = Node::new(&fleet.secret, settings);
    node.start();
    assert_ne!(node.wait_for_state("unreachable"), "");
    assert_eq!(node.head(), 0);
}
