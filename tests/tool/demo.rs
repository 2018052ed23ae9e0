//! `farlink demo`, over loopback.

use super::*;

#[test]
fn the_demo_names_recordings_that_replay() {
    let folder = scratch("demo");

    let ran = farlink(&["demo", "--size", "2", "--out", &folder]).well();

    for words in [
        "refused by the peer: selector unknown (3)",
        "a file of 2 MiB went there and back unchanged",
        "engine 2 cancelled block 1:",
        "no such client service",
        "a file of 2 MiB went over unchanged",
        "a payload of 2 MiB was interrupted after ",
    ] {
        assert!(ran.out.contains(words), "{words}: {}", ran.out);
    }
    for (name, word) in [("cotp", "CR calling"), ("ltp", "all of 5000, s1")] {
        let recording = format!("{folder}/{name}.pcapng");
        assert!(ran.out.contains(&recording), "{}", ran.out);
        farlink(&["replay", &recording]).well();
        let drawing = fs::read_to_string(format!("{folder}/{name}.svg")).unwrap();
        assert!(drawing.contains("<svg") && drawing.contains(word));
    }
}

/// One segment is not heard, and what was in it is sent again.
#[test]
fn the_ltp_of_the_demo_shows_a_repair() {
    let folder = scratch("demo_repair");

    farlink(&["demo", "--size", "1", "--out", &folder]).well();

    let decoded = farlink(&["decode", &format!("{folder}/ltp.pcapng")]).well();
    let reports: Vec<&str> = decoded
        .lines()
        .into_iter()
        .filter(|line| line.contains(" RS "))
        .filter(|line| line.contains(", all of 0..5000") || line.contains(" of 0..5000"))
        .collect();
    assert!(reports.len() >= 2, "{}", decoded.out);
    assert!(decoded.out.contains(" for RS "), "{}", decoded.out);
    let drawing = fs::read_to_string(format!("{folder}/ltp.svg")).unwrap();
    assert!(drawing.contains("class=\"arrow again\""));
}
