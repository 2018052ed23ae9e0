//! `farlink dtp get --vmem`, `serve --vmem` and `status`.

use super::*;

/// Gets memory of node 1 as node 2.
fn get_memory([remote, local]: &[String; 2], out: &str, arguments: &[&str]) -> Ran {
    let udp = format!("{local},{remote}");
    let all = [
        "dtp", "get", "1", "--node", "2", "--udp", &udp, "--out", out,
    ];
    farlink(&[&all[..], arguments].concat())
}

#[test]
fn memory_is_got_with_rdp_or_without_and_the_server_tells_its_status() {
    let data = pattern(100_000);
    let sent = written("dtp_memory.bin", &data);
    for rdp in [&[][..], &["--no-rdp", "--keep-alive", "100"]] {
        let out = absent("dtp_memory_got.bin");
        let at = addresses();
        let payload = format!("3={sent}");
        let arguments = ["--payload", &payload, "--vmem", "3=0x10000000"];
        let mut node = serve(&at, &arguments);
        node.next_event("payload");
        let memory = [
            "--vmem",
            "0x10000010+0x10000",
            "--rate",
            "5000000",
            "--json",
        ];

        let ran = get_memory(&at, &out, &[&memory[..], rdp].concat()).well();

        let objects = ran.objects();
        assert_eq!(event(&objects, "asking")["memory"], 0x1000_0010);
        assert_eq!(event(&objects, "complete")["octets"], 0x10000);
        assert!(fs::read(&out).unwrap() == data[0x10..0x10010]);
        let request = node.next_event("serving");
        assert_eq!(
            (&request["client"], &request["payload"], &request["octets"]),
            (&json!(2), &json!(3), &json!(0x10000))
        );
        let udp = format!("{},{}", at[1], at[0]);
        let status = ["dtp", "status", "1", "--node", "2", "--udp", &udp, "--json"];
        let without: &[&str] = if rdp.is_empty() { &[] } else { &["--no-rdp"] };
        let ran = farlink(&[&status[..], without].concat()).well();
        assert_eq!(ran.objects()[0]["busy"], false);
        assert_ne!(ran.objects()[0]["session"], 0);
    }
}

#[test]
fn memory_that_is_not_there_is_told_of() {
    let sent = written("dtp_no_memory.bin", b"memory");
    let out = absent("dtp_no_memory_got.bin");
    let at = addresses();
    let payload = format!("3={sent}");
    let _node = serve(&at, &["--payload", &payload, "--vmem", "3=16"]);
    let arguments = ["--vmem", "16+7", "--no-rdp", "--attempts", "1"];

    let words = "all of memory at 0x10 is missing: requests bring no data: the server has no memory at 0x10";
    get_memory(&at, &out, &arguments).badly(1, "memory at 0x10");
    get_memory(&at, &out, &arguments).badly(1, words.split(": ").last().unwrap());

    assert!(!is_there(&out) && !is_there(&format!("{out}.part")));
}

#[test]
fn wrong_arguments_of_vmem_are_refused() {
    let at = addresses();
    let out = absent("dtp_wrong_memory.bin");
    for (arguments, words) in [
        (&["--vmem", "5"][..], "an address and how many octets, A+N"),
        (&["--vmem", "0xg+5"], "`0xg` is not a number"),
        (
            &["--vmem", "16+0"],
            "0 octets are nothing to get; at least 1",
        ),
        (
            &["--vmem", "0+4294967296"],
            "exceed the limit of 4294967295",
        ),
        (
            &["--vmem", "0xffffffffffffffff+2"],
            "go past the last address",
        ),
        (&["--vmem", "0+1", "--payload", "3"], "cannot be used with"),
        (&[], "--payload <N>"),
        (
            &["--payload", "3", "--keep-alive", "5"],
            "--keep-alive is for memory",
        ),
        (&["--payload", "3", "--no-rdp"], "--no-rdp is for memory"),
        (
            &["--vmem", "0+1", "--keep-alive", "0"],
            "0 is not in 1..=65535",
        ),
    ] {
        get_memory(&at, &out, arguments).badly(2, words);
    }
    let udp = format!("{},{}", at[1], at[0]);
    let status = ["dtp", "status", "1", "--node", "2", "--udp", &udp];
    farlink(&[&status[..], &["--timeout", "0"]].concat()).badly(2, "from 0.001 to 3600");
    let short = ["--timeout", "0.2", "--no-rdp"];
    farlink(&[&status[..], &short].concat()).badly(1, "node 1 does not answer within 0.2 s");
    let serve = [
        "dtp",
        "serve",
        "--node",
        "1",
        "--udp",
        &udp,
        "--payload",
        "3=/dev/null",
    ];
    let short = ["--vmem", "3=0", "--mtu", "107"];
    farlink(&[&serve[..], &short].concat()).badly(2, "max_data of 107 is less than 108");
    farlink(&[&serve[..], &["--vmem", "4=0"]].concat()).badly(2, "payload 4 is not served");
    farlink(&[&serve[..], &["--vmem", "4"]].concat()).badly(2, "a payload and its address, N=A");
}

#[test]
fn a_session_of_memory_goes_on_with_that_memory_alone() {
    let data = pattern(400_000);
    let sent = written("dtp_memory_rest.bin", &data);
    let out = absent("dtp_memory_rest_got.bin");
    let at = addresses();
    let payload = format!("3={sent}");
    let _node = serve(&at, &["--payload", &payload, "--vmem", "3=0"]);
    let mut session = farlink::dtp::Session::new((1, 0), options(), 7, 300_000);
    session.address = Some(0);
    session.add(0, &data[..100_000]);
    fs::write(format!("{out}.session"), session.encode()).unwrap();
    fs::write(format!("{out}.part"), &data[..100_000]).unwrap();
    let rest = |memory: &str| get_memory(&at, &out, &["--resume", "--vmem", memory]);

    rest("16+300000").badly(2, "session of memory at 0x0, not of memory at 0x10");
    rest("0+400000").badly(2, "session of 300000 octets, not of 400000");
    get(&at, &out, &["--resume"]).badly(2, "session of payload 0 of node 1, not of payload 3");
    assert_eq!(rest("0+300000").status, 0);

    assert!(fs::read(&out).unwrap() == data[..300_000]);
}

fn options() -> farlink::dtp::GetOptions {
    farlink::dtp::GetOptions {
        mtu: 208,
        throughput: 5_000_000,
        ..farlink::dtp::GetOptions::default()
    }
}
