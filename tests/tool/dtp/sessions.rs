//! Transfers that were ended and go on, and the files of their sessions.

use farlink::dtp::{GetOptions, Session};

use super::*;

const LEN: usize = 400_000;

/// A server of a file, and a transfer of it that is to be ended.
struct Scene {
    data: Vec<u8>,
    at: [String; 2],
    out: String,
    _node: Server,
}

impl Scene {
    fn new(name: &str) -> Self {
        let data = pattern(LEN);
        let sent = written(&format!("{name}_sent.bin"), &data);
        let at = addresses();
        let mut node = serve(&at, &["--payload", &format!("3={sent}")]);
        node.next_event("payload");
        Self {
            data,
            at,
            out: absent(&format!("{name}_got.bin")),
            _node: node,
        }
    }

    fn file(&self, suffix: &str) -> String {
        format!("{}{suffix}", self.out)
    }

    /// Begins at a rate that takes longer than any test.
    fn begin(&self, arguments: &[&str]) -> Child {
        let udp = format!("{},{}", self.at[1], self.at[0]);
        let slow = ["--json", "--rate", "40000"];
        let all = [&slow[..], arguments].concat();
        tool(&get_arguments(&udp, &self.out, &all)).spawn().unwrap()
    }

    fn session(&self) -> Option<Session> {
        let octets = fs::read(self.file(".session")).ok()?;
        Some(Session::decode(&octets).unwrap())
    }

    /// Waits until the session that was saved has so many octets.
    fn wait_for(&self, octets: u64) -> Session {
        loop {
            let session = self.session();
            if let Some(session) = session.filter(|it| it.received_octets() >= octets) {
                return session;
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    fn resume(&self, arguments: &[&str]) -> Ran {
        let all = [&["--resume", "--json", "--rate", "20000000"], arguments].concat();
        get(&self.at, &self.out, &all)
    }

    /// Goes on, and checks that no octet of the session is asked for again.
    fn complete(&self, had: u64) -> Vec<Value> {
        let ran = self.resume(&[]).well();
        let objects = ran.objects();
        assert_eq!(event(&objects, "asking")["received"], had);
        let complete = event(&objects, "complete");
        assert_eq!(complete["octets"], LEN);
        assert_eq!(complete["checked"], true);
        assert!(fs::read(&self.out).unwrap() == self.data);
        for suffix in [".part", ".session", ".session.tmp", ".meta"] {
            assert!(!is_there(&self.file(suffix)), "{suffix}");
        }
        objects
    }
}

fn ran(process: Child) -> Ran {
    let output = process.wait_with_output().unwrap();
    Ran {
        status: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

#[cfg(unix)]
#[test]
fn an_interrupted_transfer_goes_on_where_it_was() {
    let scene = Scene::new("dtp_ctrl_c");
    let process = scene.begin(&[]);
    while fs::metadata(scene.file(".part")).map_or(0, |file| file.len()) < 5000 {
        std::thread::park_timeout(Duration::from_millis(5));
    }

    interrupt(&process);
    let ran = ran(process);

    assert_eq!(ran.status, 1);
    let objects = ran.objects();
    let failed = event(&objects, "failed");
    assert_eq!(failed["session"], scene.file(".session"));
    let session = scene.session().unwrap();
    assert_eq!(failed["received"], session.received_octets());
    let shown = farlink(&["dtp", "session", &scene.file(".session"), "--json"]).well();
    let shown = &shown.objects()[0];
    assert_eq!(
        (&shown["event"], &shown["payload"], &shown["octets"]),
        (&json!("session"), &json!(3), &json!(LEN))
    );
    assert_eq!(shown["received"], failed["received"]);
    assert_eq!(shown["missing"], failed["missing"]);
    get(&scene.at, &scene.out, &[]).badly(2, "--resume goes on with it");

    scene.complete(session.received_octets());
}

#[test]
fn a_killed_transfer_loses_what_was_not_saved_and_no_more() {
    let scene = Scene::new("dtp_killed");
    let mut had = 0;
    for _ in 0..2 {
        let mut process = scene.begin(&["--resume"]);
        scene.wait_for(had + 10_000);
        process.kill().unwrap();
        process.wait().unwrap();
        // Another may have been saved in the meantime.
        had = scene.session().unwrap().received_octets();
    }

    scene.complete(had);
}

#[cfg(unix)]
#[test]
fn a_full_disk_is_told_and_the_session_is_kept() {
    let scene = Scene::new("dtp_full");
    let udp = format!("{},{}", scene.at[1], scene.at[0]);
    let tool = tool(&get_arguments(&udp, &scene.out, &["--rate", "2000000"]));
    let arguments: Vec<String> = tool
        .get_args()
        .map(|it| format!("'{}'", it.to_str().unwrap()))
        .collect();
    // Files may have 100 KiB: writing beyond it fails as on a full disk.
    let script = format!(
        "trap '' XFSZ; ulimit -f 200; exec '{}' {}",
        env!("CARGO_BIN_EXE_farlink"),
        arguments.join(" ")
    );

    let output = Command::new("sh").args(["-c", &script]).output().unwrap();

    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("octets of payload 3 are missing"), "{told}");
    assert!(told.contains("got.bin.part: File too large"), "{told}");
    assert!(
        told.contains("the same command with --resume gets the rest"),
        "{told}"
    );
    let had = scene.session().unwrap().received_octets();
    assert!(had > 0);
    scene.complete(had);
}

#[test]
fn a_session_of_another_transfer_or_a_damaged_one_is_refused_and_nothing_changes() {
    let out = absent("dtp_refused.bin");
    let at = addresses();
    let (part, path) = (format!("{out}.part"), format!("{out}.session"));
    let options = GetOptions::default();
    let mut session = Session::new((1, 3), options, 7, 1000);
    session.add(200, &[5; 400]);
    let octets = [&[0; 200][..], &[5; 400]].concat();
    let refused = |file: &[u8], data: &[u8], arguments: &[&str], words: &str| {
        fs::write(&path, file).unwrap();
        fs::write(&part, data).unwrap();
        let all = [&["--resume"], arguments].concat();
        get(&at, &out, &all).badly(2, words);
        assert!(fs::read(&part).unwrap() == data && fs::read(&path).unwrap() == file);
        assert!(!is_there(&out));
    };

    let good = session.encode();
    let mut damaged = good.clone();
    damaged[30] ^= 1;
    refused(&damaged, &octets, &[], "session file has the check 0x");
    refused(&good[..40], &octets, &[], "40 octets is shorter");
    refused(b"some other file, not a session", &octets, &[], "version");
    refused(b"", &octets, &[], "0 octets is shorter than its fields, 26");
    let other = Session {
        server: 4,
        payload: 9,
        ..session.clone()
    };
    let words = "session of payload 9 of node 4, not of payload 3 of node 1";
    refused(&other.encode(), &octets, &[], words);
    let words = "session with an mtu of 208, not of 500";
    refused(&good, &octets, &["--mtu", "500"], words);
    let long = Session {
        mtu: 65_000,
        received: Vec::new(),
        sum: Some(0),
        ..session.clone()
    };
    let words = "session with an mtu of 65000, the limit is 64996";
    refused(&long.encode(), &octets, &[], words);
    let words = "599 octets, where 600 have come";
    refused(&good, &octets[..599], &[], words);
    let words = "octets of the sum 0x";
    refused(&good, &[6; 600], &[], words);
    fs::remove_file(&part).unwrap();
    get(&at, &out, &["--resume"]).badly(2, "are not there");

    let shown = farlink(&["dtp", "session", &path]).well();
    for words in [
        "payload 3 of node 1, 1000 octets",
        "mtu 208, 100000 octets per second, session 0x00000007",
        "400 octets have come, 600 octets are missing (0..200, 600..1000)",
    ] {
        assert!(shown.out.contains(words), "{}", shown.out);
    }
    farlink(&["dtp", "session", "no such file"]).badly(2, "no such file: ");
    fs::write(&path, &damaged).unwrap();
    farlink(&["dtp", "session", &path]).badly(2, "session file has the check 0x");
}

#[test]
fn a_session_of_libdtp_goes_on_and_one_is_written_for_it() {
    let scene = Scene::new("dtp_meta");
    let options = GetOptions {
        mtu: 1032,
        ..GetOptions::default()
    };
    let len = u32::try_from(LEN).unwrap();
    let mut session = Session::new((1, 3), options, 0x900D_FACE, len);
    session.add(0, &scene.data[..102_400]);
    let saved = scratch("dtp_meta.session");
    fs::write(&saved, session.encode()).unwrap();
    let meta = scene.file(".meta");
    farlink(&["dtp", "session", &saved, "--meta", &meta]).well();
    assert!(fs::read(&meta).unwrap() == session.to_meta());
    // libdtp writes into the file itself.
    fs::write(&scene.out, &scene.data[..102_400]).unwrap();

    let ran = scene.resume(&[]).well();

    assert_eq!(event(&ran.objects(), "asking")["received"], 102_400);
    assert!(fs::read(&scene.out).unwrap() == scene.data);
    assert!(!is_there(&meta) && !is_there(&scene.file(".part")));
}

#[test]
fn without_a_session_a_resumed_transfer_begins() {
    let scene = Scene::new("dtp_no_session");

    scene.complete(0);
}

#[test]
fn a_payload_that_is_another_than_that_of_the_session_is_told() {
    let scene = Scene::new("dtp_changed");
    let len = u32::try_from(LEN).unwrap();
    let mut session = Session::new((1, 3), GetOptions::default(), 7, len);
    session.identity = Some(farlink::dtp::PayloadIdentity {
        crc32c: Some(1),
        generation: 0,
    });
    session.add(0, &[9; 2000]);
    fs::write(scene.file(".session"), session.encode()).unwrap();
    fs::write(scene.file(".part"), [9; 2000]).unwrap();

    let ran = scene.resume(&[]);

    assert_eq!(ran.status, 1, "{ran:?}");
    let objects = ran.objects();
    let failed = event(&objects, "failed");
    assert_eq!(failed["cause"], "payload_changed");
    let reason = failed["reason"].as_str().unwrap();
    assert!(reason.contains("not the one of the session"), "{reason}");
    assert_eq!(failed["session"], scene.file(".session"));
    assert!(fs::read(scene.file(".part")).unwrap() == [9; 2000]);
    let ran = get(&scene.at, &scene.out, &["--resume"]);
    ran.badly(1, "remove the session to begin anew");
}

#[test]
fn a_range_alone_is_got_and_the_rest_later() {
    let scene = Scene::new("dtp_range");
    let range = |range: &str| {
        let all = ["--range", range, "--json", "--rate", "20000000"];
        get(&scene.at, &scene.out, &all)
    };

    range("1000-2999").well();
    let got = fs::read(&scene.out).unwrap();
    assert!(got[1000..=2999] == scene.data[1000..=2999]);
    assert!(got[..1000].iter().all(|octet| *octet == 0));
    range("399900-").well();
    let got = fs::read(&scene.out).unwrap();
    assert!(got.len() == LEN && got[399_900..] == scene.data[399_900..]);
    let ran = range("400000-");
    let objects = ran.objects();
    assert_eq!(
        (ran.status, &event(&objects, "failed")["cause"]),
        (1, &json!("refused"))
    );
    let reason = event(&objects, "failed")["reason"].as_str().unwrap();
    assert!(
        reason.contains("ends before octet 400000 (--range)"),
        "{reason}"
    );
}
