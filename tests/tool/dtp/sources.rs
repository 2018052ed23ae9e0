//! What is served, and to whom.

use super::*;

#[test]
fn what_can_be_read_once_is_served_from_memory() {
    let at = addresses();
    let out = absent("dtp_stdin_got.bin");
    let udp = format!("{},{}", at[0], at[1]);
    let all = ["dtp", "serve", "--node", "1", "--udp", &udp, "--payload"];
    let mut process = tool(&[&all[..], &["3=-", "--json"]].concat())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let data = pattern(100_000);
    let mut stdin = process.stdin.take().unwrap();
    stdin.write_all(&data).unwrap();
    drop(stdin);

    let ran = get(
        &at,
        &out,
        &["--rate", "20000000", "--mtu", "1032", "--json"],
    )
    .well();

    assert_eq!(event(&ran.objects(), "complete")["checked"], true);
    assert!(fs::read(&out).unwrap() == data);
    process.kill().unwrap();
    process.wait().unwrap();
}

#[test]
fn a_file_that_changes_is_served_anew_and_clients_are_told() {
    let data = pattern(300_000);
    let sent = written("dtp_changing.bin", &data);
    let at = addresses();
    let out = absent("dtp_changing_got.bin");
    let mut node = serve(&at, &["--payload", &format!("3={sent}")]);
    node.next_event("payload");
    let udp = format!("{},{}", at[1], at[0]);
    let slow = ["--json", "--rate", "50000"];
    let process = tool(&get_arguments(&udp, &out, &slow)).spawn().unwrap();
    node.next_event("serving");
    while fs::metadata(format!("{out}.part")).map_or(0, |file| file.len()) < 5000 {
        std::thread::park_timeout(Duration::from_millis(5));
    }

    written("dtp_changing.bin", &pattern(200_000));

    assert_eq!(node.next_event("changed")["octets"], 200_000);
    let output = process.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains("\"cause\":\"payload_changed\""), "{told}");
    for suffix in [".part", ".session"] {
        fs::remove_file(format!("{out}{suffix}")).unwrap();
    }
    get(&at, &out, &["--rate", "20000000"]).well();
    assert!(fs::read(&out).unwrap() == pattern(200_000));
}

#[test]
fn a_payload_that_no_offset_can_tell_is_refused() {
    let long = scratch("dtp_too_long.bin");
    let file = fs::File::create(&long).unwrap();
    file.set_len(1 << 32).unwrap();
    let payload = format!("3={long}");
    let udp = "127.0.0.1:0,127.0.0.1:9";

    let all = ["dtp", "serve", "--node", "1", "--udp", udp, "--payload"];
    let ran = farlink(&[&all[..], &[&payload]].concat());

    fs::remove_file(&long).unwrap();
    ran.badly(
        2,
        "4294967296 octets exceed the limit of a payload, 4294967295",
    );
}

#[test]
fn nodes_with_hmac_need_the_key() {
    let sent = written("dtp_hmac.bin", b"for those with the key");
    let (key, other) = (
        written("dtp_key", b"a passphrase\n"),
        written("dtp_other_key", b"another"),
    );
    let out = absent("dtp_hmac_got.bin");
    let at = addresses();
    let payload = format!("3={sent}");
    let _node = serve(&at, &["--payload", &payload, "--hmac-key-file", &key]);

    get(&at, &out, &["--hmac-key-file", &key]).well();
    assert_eq!(fs::read(&out).unwrap(), b"for those with the key");
    let out = absent("dtp_hmac_not_got.bin");
    for arguments in [&["--hmac-key-file", &other][..], &[]] {
        let all = [&["--attempts", "1"], arguments].concat();
        get(&at, &out, &all).badly(1, "all of payload 3 is missing: ");
    }
    assert!(!is_there(&out));
    let empty = written("dtp_no_key", b"\n");
    get(&at, &out, &["--hmac-key-file", &empty]).badly(2, "no passphrase");
}

#[test]
fn the_rate_that_arrives_is_found() {
    let data = pattern(5_000_000);
    let sent = written("dtp_max.bin", &data);
    let out = absent("dtp_max_got.bin");
    let at = addresses();
    let _node = serve(&at, &["--payload", &format!("3={sent}")]);

    let ran = get(&at, &out, &["--rate", "max", "--mtu", "1032", "--json"]).well();

    let objects = ran.objects();
    let complete = event(&objects, "complete");
    assert_eq!(
        (&complete["octets"], &complete["checked"]),
        (&json!(5_000_000), &json!(true))
    );
    assert!(fs::read(&out).unwrap() == data);
}

#[test]
fn the_limit_of_rounds_is_told_by_the_last_line() {
    let sent = written("dtp_rounds.bin", &pattern(2000));
    let out = absent("dtp_rounds_got.bin");
    let at = addresses();
    let _node = serve(&at, &["--payload", &format!("3={sent}")]);

    let ran = get(&at, &out, &["--max-rounds", "1", "--json"]).well();

    let objects = ran.objects();
    let last = objects.last().unwrap();
    assert_eq!(
        (&last["event"], &last["rounds"]),
        (&json!("complete"), &json!(1))
    );
    assert_eq!(
        (&last["octets"], &last["asked_again"]),
        (&json!(2000), &json!(0))
    );
    assert!(last["seconds"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_server_that_starts_again_in_mid_transfer_brings_the_rest() {
    let data = pattern(300_000);
    let sent = written("dtp_restarted.bin", &data);
    let at = addresses();
    let out = absent("dtp_restarted_got.bin");
    let payload = format!("3={sent}");
    let node = serve(&at, &["--payload", &payload]);
    let udp = format!("{},{}", at[1], at[0]);
    let slow = ["--json", "--rate", "200000"];
    let process = tool(&get_arguments(&udp, &out, &slow)).spawn().unwrap();
    while fs::metadata(format!("{out}.part")).map_or(0, |file| file.len()) < 5000 {
        std::thread::park_timeout(Duration::from_millis(5));
    }

    drop(node);
    let _node = serve(&at, &["--payload", &payload]);

    let output = process.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains("\"checked\":true"), "{told}");
    assert!(fs::read(&out).unwrap() == data);
}

#[test]
fn a_file_that_has_changed_is_served_anew_before_anybody_asks() {
    let sent = written("dtp_changed_before.bin", &pattern(1000));
    let at = addresses();
    let out = absent("dtp_changed_before_got.bin");
    let mut node = serve(&at, &["--payload", &format!("3={sent}")]);
    node.next_event("payload");

    written("dtp_changed_before.bin", &pattern(2000));

    assert_eq!(node.next_event("changed")["octets"], 2000);
    get(&at, &out, &[]).well();
    assert!(fs::read(&out).unwrap() == pattern(2000));
}

#[test]
fn a_recording_of_more_than_a_mebibyte_is_decoded_to_its_end() {
    let data = pattern(1_200_000);
    let sent = written("dtp_long.bin", &data);
    let recording = scratch("dtp_long.pcapng");
    let at = addresses();
    let out = absent("dtp_long_got.bin");
    let _node = serve(&at, &["--payload", &format!("3={sent}")]);
    let fast = ["--rate", "20000000", "--mtu", "1032"];
    get(&at, &out, &[&fast[..], &["--record", &recording]].concat()).well();

    let ran = farlink(&["decode", &recording]).well();

    assert!(
        ran.lines().len() > 1_200_000 / 1024,
        "{}",
        ran.lines().len()
    );
}
