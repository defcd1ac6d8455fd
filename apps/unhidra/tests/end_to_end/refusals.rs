//! What can't be done says why in one line, and ends with the documented code.

use std::{fs, path::PathBuf};

use unhidra_testkit::{
    Person, Seed, World,
    http::Http,
    person::Protection,
    process::{Process, RUN_TIMEOUT},
    proxy::Proxy,
};
use unhidra_types::limits::MAX_TEXT_BYTES;
use unhidra_wire::rest::{Enrolment, Hidden, OpenAccount};

use crate::{program, world};

#[test]
fn an_unknown_peer_is_not_found() {
    let mut world = world().unwrap();
    let alice = world.person("alice").unwrap();
    let line = alice
        .first()
        .unwrap()
        .run(["send", "nobody", "hello"])
        .unwrap()
        .refusal(6)
        .unwrap();
    assert!(line.contains("nobody"), "{line}");
}

#[test]
fn a_peer_without_a_device_blocks_sending() {
    let mut world = world().unwrap();
    let alice = world.person("alice").unwrap();
    let account = OpenAccount {
        invitation: Hidden::new(world.invitation().unwrap()),
        username: "carol".parse().unwrap(),
        password: Hidden::new(world.dice().word(20)),
    };
    let http = Http::to(world.server.address()).unwrap();
    let _: Enrolment = http.post("/v1/accounts", None, &account).unwrap().json().unwrap();
    let line = alice
        .first()
        .unwrap()
        .run(["send", "carol", "hello"])
        .unwrap()
        .refusal(7)
        .unwrap();
    assert!(line.contains("carol") && line.contains("device"), "{line}");
}

#[test]
fn the_longest_message_arrives_and_a_longer_one_is_refused_before_anything_is_sent() {
    let mut world = world().unwrap();
    let (alice, bob) = world.alice_and_bob().unwrap();
    let device = alice.first().unwrap();
    let longest = "x".repeat(MAX_TEXT_BYTES);
    let sent = device.start(["send", "bob"], longest.as_bytes()).unwrap();
    sent.wait(RUN_TIMEOUT).unwrap().success().unwrap();
    let longer = device
        .start(["send", "bob"], format!("{longest}x").as_bytes())
        .unwrap();
    let line = longer.wait(RUN_TIMEOUT).unwrap().refusal(8).unwrap();
    assert!(line.contains("long"), "{line}");
    let read = bob.first().unwrap().read_json().unwrap();
    assert_eq!(read.len(), 1);
    assert_eq!(read[0].text.as_deref(), Some(longest.as_str()));
}

#[test]
fn text_that_is_not_utf8_is_refused() {
    let mut world = world().unwrap();
    let (alice, _bob) = world.alice_and_bob().unwrap();
    let sent = alice
        .first()
        .unwrap()
        .start(["send", "bob"], b"\xff\xfe")
        .unwrap();
    sent.wait(RUN_TIMEOUT).unwrap().refusal(8).unwrap();
}

#[test]
fn a_wrong_password_and_an_unknown_user_are_refused_in_the_same_words() {
    let mut world = world().unwrap();
    let mut alice = world.person("alice").unwrap();
    alice.password = "not the password at all".into();
    let answer = |person: &unhidra_testkit::Person, name: &str| {
        let device = world.device(name, Protection::KeyFile).unwrap();
        let arguments = world.login_arguments(person, &device).unwrap();
        let line = device.run(arguments).unwrap().refusal(4).unwrap();
        line.replace(&person.name, "NAME")
    };
    let wrong = answer(&alice, "wrong");
    alice.name = "mallory".into();
    assert_eq!(wrong, answer(&alice, "unknown"));
}

#[test]
fn a_used_or_invented_invitation_is_refused() {
    let mut world = world().unwrap();
    world.person("alice").unwrap();
    let invitation = world.invitation().unwrap();
    let server = world.server.url();
    let register = |name: &str, invitation: &str| {
        let device = world.device(name, Protection::KeyFile).unwrap();
        let password = world
            .secret_file(&device, "password", "long enough to pass")
            .unwrap();
        let arguments = [
            "register",
            "--server",
            &server,
            "--username",
            name,
            "--invitation",
            invitation,
            "--password-file",
        ];
        let arguments = arguments.map(PathBuf::from).into_iter().chain([password]);
        device.run(arguments).unwrap()
    };
    register("bob", &invitation).success().unwrap();
    register("carol", &invitation).refusal(4).unwrap();
    register("dave", "invented").refusal(4).unwrap();
    // One in 64 real ones begins like an option.
    register("erin", "-invented").refusal(4).unwrap();
}

#[test]
fn a_wrong_passphrase_opens_nothing() {
    let mut world = world().unwrap();
    let home = world.device("alice", Protection::KeyFile).unwrap();
    let right = world
        .secret_file(&home, "passphrase", "correct horse battery staple")
        .unwrap();
    let wrong = world
        .secret_file(&home, "wrong", "incorrect horse battery staple")
        .unwrap();
    let device = home.opened_by(Protection::Passphrase(right));
    let alice = world.person_on("alice", device.clone()).unwrap();
    alice.first().unwrap().whoami().unwrap();
    device
        .opened_by(Protection::Passphrase(wrong))
        .run(["whoami"])
        .unwrap()
        .refusal(9)
        .unwrap();
    device
        .opened_by(Protection::KeyFile)
        .run(["whoami"])
        .unwrap()
        .refusal(9)
        .unwrap();
}

#[test]
fn a_profile_without_an_account_is_not_logged_in() {
    let world = world().unwrap();
    let device = world.device("nobody", Protection::KeyFile).unwrap();
    for arguments in [&["whoami"][..], &["read"], &["send", "bob", "hello"]] {
        device.run(arguments).unwrap().refusal(4).unwrap();
    }
}

#[test]
fn a_server_that_is_away_is_unreachable() {
    let mut world = world().unwrap();
    let alice = world.person("alice").unwrap();
    world.server.kill_nine().unwrap();
    alice.first().unwrap().run(["read"]).unwrap().refusal(5).unwrap();
}

#[test]
fn wrong_usage_ends_with_two() {
    let world = world().unwrap();
    let device = world.device("nobody", Protection::KeyFile).unwrap();
    for arguments in [&["send"][..], &["read", "--limit", "many"], &["unknown"]] {
        device.run(arguments).unwrap().with_code(2).unwrap();
    }
}

#[test]
fn a_configuration_with_an_unknown_key_is_refused_and_the_key_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("unhidra.toml");
    fs::write(&file, "[server]\nlisten_adress = \"127.0.0.1:0\"\n").unwrap();
    let mut command = program().command(folder.path());
    command.args(["serve", "--config"]).arg(&file);
    let process = Process::start(&mut command, b"").unwrap();
    let line = process.wait(RUN_TIMEOUT).unwrap().refusal(3).unwrap();
    assert!(
        line.contains("listen_adress") || line.contains("server"),
        "{line}"
    );
}

#[test]
fn an_address_beyond_this_machine_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = program().command(folder.path());
    command
        .args(["serve", "--listen", "0.0.0.0:0", "--data"])
        .arg(folder.path());
    let process = Process::start(&mut command, b"").unwrap();
    process.wait(RUN_TIMEOUT).unwrap().refusal(3).unwrap();
}

#[test]
fn a_server_that_speaks_another_version_is_told_from_one_that_is_away() {
    let proxy = Proxy::start().unwrap();
    let known_as = vec![("UNHIDRA_IDENTITY_ISSUER", proxy.url())];
    let mut world = World::configured(program(), Seed::from_environment().unwrap(), known_as).unwrap();
    proxy.lead_to(world.server.address());
    let device = world.device("alice", Protection::KeyFile).unwrap();
    let alice = world.person_through(&proxy.url(), "alice", device).unwrap();
    world.person("bob").unwrap();
    alice.first().unwrap().send("bob", "the same version").unwrap();
    proxy.replace(b"unhidra.v1", b"unhidra.v9");
    let line = alice
        .first()
        .unwrap()
        .run(["send", "bob", "another version", "--timeout", "5s"])
        .unwrap()
        .refusal(10)
        .unwrap();
    assert!(line.contains("version"), "{line}");
}

#[test]
fn the_recovery_words_come_before_the_upload_and_again_when_it_was_cut_off() {
    let proxy = Proxy::start().unwrap();
    let known_as = vec![("UNHIDRA_IDENTITY_ISSUER", proxy.url())];
    let world = World::configured(program(), Seed::from_environment().unwrap(), known_as).unwrap();
    proxy.lead_to(world.server.address());
    // The account is opened; the upload of its identity goes astray.
    proxy.replace(b"/v1/users/me/chain", b"/v1/users/me/chaim");
    let device = world.device("alice", Protection::KeyFile).unwrap();
    let password = "long enough to pass".to_owned();
    let password_file = world.secret_file(&device, "password", &password).unwrap();
    let url = proxy.url();
    let arguments = ["--json", "register", "--server", &url, "--username", "alice"];
    let arguments = arguments.map(PathBuf::from).into_iter().chain([
        "--setup-token-file".into(),
        world.server.setup_token_file(),
        "--password-file".into(),
        password_file,
    ]);
    let words = |output: &unhidra_testkit::process::Output| {
        let printed = output.json().unwrap();
        printed[0]["recovery_key"].as_str().unwrap().to_owned()
    };
    let cut_off = device.run(arguments).unwrap();
    assert_ne!(cut_off.code(), Some(0));
    let void = words(&cut_off);
    let alice = Person {
        name: "alice".to_owned(),
        password,
        recovery_key: void.clone(),
        devices: vec![device.clone()],
    };
    let login = world.login_arguments(&alice, &device).unwrap();
    let finished = device.run(login).unwrap().success().unwrap();
    let good = words(&finished);
    assert_ne!(good, void);
    device.whoami().unwrap();
    let recover = |name: &str, words: &str| {
        let other = world.device(name, Protection::KeyFile).unwrap();
        let file = world.secret_file(&other, "words", words).unwrap();
        let mut arguments = world.login_arguments(&alice, &other).unwrap();
        arguments.extend(["--recovery-key-file".into(), file]);
        other.run(arguments).unwrap()
    };
    recover("void", &void).refusal(4).unwrap();
    recover("good", &good).success().unwrap();
}

#[test]
fn a_login_that_was_relayed_from_another_address_is_refused() {
    let mut world = world().unwrap();
    let alice = world.person("alice").unwrap();
    let proxy = Proxy::start().unwrap();
    proxy.lead_to(world.server.address());
    let device = alice.first().unwrap();
    device.run(["logout"]).unwrap().success().unwrap();
    let arguments = world.login_arguments_at(&proxy.url(), &alice, device).unwrap();
    device.run(arguments).unwrap().with_code(4).unwrap();
    let arguments = world.login_arguments(&alice, device).unwrap();
    device.run(arguments).unwrap().success().unwrap();
}

#[test]
fn doctor_names_a_port_that_is_taken_and_what_to_do() {
    let world = world().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut command = program().command(folder.path());
    command.args([
        "doctor",
        "--listen",
        &world.server.address().to_string(),
        "--data",
    ]);
    command.arg(folder.path().join("data"));
    let process = Process::start(&mut command, b"").unwrap();
    let output = process.wait(RUN_TIMEOUT).unwrap().with_code(3).unwrap();
    let shown = String::from_utf8_lossy(output.stdout()).into_owned();
    assert!(
        shown.contains("FAIL port") && shown.contains("--listen"),
        "{shown}"
    );
}

#[test]
fn a_second_server_on_the_same_folder_is_refused_and_the_first_goes_on() {
    let mut world = world().unwrap();
    let data = world.server.data();
    let mut command = program().command(world.server.logs().as_path());
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(data);
    let second = Process::start(&mut command, b"").unwrap();
    let refused = second.wait(RUN_TIMEOUT).unwrap();
    assert_ne!(refused.code(), Some(0), "{refused:?}");
    world.person("alice").unwrap();
}
