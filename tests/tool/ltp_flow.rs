//! What `farlink ltp send` says of the flow of its blocks.

use std::net::UdpSocket;
use std::slice;

use farlink::ltp::{Body, Claims, Color, Mark, Reason, Report, Segment};
use serde_json::json;

use super::ltp::{event, pattern, receive, send, silence};
use super::*;

fn events<'a>(objects: &'a [Value], name: &'a str) -> impl Iterator<Item = &'a Value> {
    objects.iter().filter(move |object| object["event"] == name)
}

/// A line to `to` that loses one of `of` long datagrams towards it. Returns where it is reached.
fn lossy_line(to: &str, of: u32) -> String {
    let (front, address) = silence();
    let back = UdpSocket::bind("127.0.0.1:0").unwrap();
    back.connect(to).unwrap();
    let (front_out, back_in) = (front.try_clone().unwrap(), back.try_clone().unwrap());
    std::thread::spawn(move || {
        let mut octets = [0; 2000];
        let (len, sender) = front.recv_from(&mut octets).unwrap();
        front_out.connect(sender).unwrap();
        back.send(&octets[..len]).unwrap();
        let answers = std::thread::spawn(move || {
            let mut octets = [0; 2000];
            while let Ok(len) = back_in.recv(&mut octets) {
                let _ = front_out.send(&octets[..len]);
            }
        });
        let mut long = 0;
        while let Ok(len) = front.recv(&mut octets) {
            long += u32::from(len > 1000);
            if len <= 1000 || long % of != 0 {
                let _ = back.send(&octets[..len]);
            }
        }
        answers.join().unwrap();
    });
    address
}

#[test]
fn the_rate_at_first_the_kind_of_the_peer_and_the_last_flow_are_told() {
    let file = written("ltp_flow.bin", &pattern(200_000));
    let node = receive(&[]);

    let objects = send(&file, &node.address, &["--json"]).well().objects();
    let ran = send(&file, &node.address, &[]).well();

    let mut flows = events(&objects, "flow");
    let first = flows.next().unwrap();
    assert_eq!(
        (&first["rate"], &first["window"], &first["farlink"]),
        (&json!(12_500_000), &Value::Null, &json!(false))
    );
    let recognized = flows.next().unwrap();
    assert_eq!(
        (&recognized["farlink"], &recognized["loss"]),
        (&json!(true), &Value::Null)
    );
    let window = recognized["window"].as_u64().unwrap();
    assert!((65_536..=16 << 20).contains(&window), "{window}");
    let complete = event(&objects, "complete");
    assert_eq!(
        (&complete["rate"], &complete["window"]),
        (&recognized["rate"], &recognized["window"])
    );
    assert!(
        ran.out
            .contains("engine 2 gets 100.0 Mbit/s at first, then as fast as it bears; --rate"),
        "{}",
        ran.out
    );
    assert!(
        ran.out.contains("engine 2 speaks farlink: window"),
        "{}",
        ran.out
    );
    assert!(ran.out.contains(", at the end with window"), "{}", ran.out);
}

#[test]
fn losses_are_told_with_the_flow_that_follows_and_a_few_times_only() {
    let file = written("ltp_flow_loss.bin", &pattern(400_000));
    let node = receive(&[]);

    let ran = send(&file, &lossy_line(&node.address, 5), &["--json"]).well();

    let objects = ran.objects();
    let flows: Vec<&Value> = events(&objects, "flow").collect();
    let lossy = flows.iter().find_map(|flow| flow["loss"].as_f64());
    let loss = lossy.unwrap_or_else(|| panic!("{flows:?}"));
    // Of one round, which may be short. Losses below 2 % change nothing.
    assert!((0.02..=1.0).contains(&loss), "{loss}");
    assert!((2..8).contains(&flows.len()), "{flows:?}");
}

/// As ION does, whose limit of reports is 0 before the end of the red part.
#[test]
fn a_block_that_is_sent_again_without_early_checkpoints_is_told_of() {
    let file = written("ltp_flow_again.bin", &pattern(10_000));
    let (peer, address) = silence();
    let receiver = std::thread::spawn(move || {
        let mut octets = [0; 2000];
        let mut refused = None;
        loop {
            let (len, sender) = peer.recv_from(&mut octets).unwrap();
            let Segment { session, body, .. } = Segment::decode(&octets[..len]).unwrap();
            let Body::Data(data) = body else {
                continue;
            };
            let whole = 0..data.range().end;
            let Color::Red(Some(checkpoint)) = data.color else {
                continue;
            };
            let is_over = checkpoint.mark != Mark::None && refused != Some(session);
            let answer = if is_over {
                Body::Report(Report {
                    serial: 1,
                    checkpoint: checkpoint.serial,
                    scope: whole.clone().into(),
                    claims: Claims::new(slice::from_ref(&whole)),
                })
            } else {
                refused = Some(session);
                Body::CancelByReceiver(Reason::RETRANSMISSION_LIMIT)
            };
            let mut octets = Vec::new();
            Segment::new(session, answer).encode(&mut octets);
            peer.send_to(&octets, sender).unwrap();
            if is_over {
                return session;
            }
        }
    });

    let ran = send(&file, &address, &["--json", "--checkpoint", "2"]).well();

    let session = receiver.join().unwrap().number;
    let objects = ran.objects();
    assert_eq!(event(&objects, "restarted")["session"], session);
    assert_eq!(event(&objects, "complete")["session"], session);
}

#[test]
fn a_block_of_which_much_was_sent_twice_is_told_to_want_a_rate() {
    let file = written("ltp_flow_twice.bin", &pattern(100_000));
    let node = receive(&[]);
    let advice = "; --rate with the rate of the line would avoid most of them";

    let near = send(&file, &node.address, &[]).well();
    let lossy = send(&file, &lossy_line(&node.address, 2), &[]).well();

    assert!(!near.out.contains(advice), "{}", near.out);
    assert!(lossy.out.contains(advice), "{}", lossy.out);
}

#[test]
fn a_flow_that_was_given_is_not_told() {
    let file = written("ltp_flow_given.bin", &pattern(3000));
    let node = receive(&[]);
    for option in ["--rate", "--window"] {
        let objects = send(&file, &node.address, &["--json", option, "10000000"])
            .well()
            .objects();

        assert_eq!(events(&objects, "flow").count(), 0, "{objects:?}");
        event(&objects, "complete");
    }
}

#[test]
fn a_far_peer_is_said_to_need_a_rate() {
    let file = written("ltp_flow_far.bin", &pattern(100));
    let node = receive(&["--owlt", "1"]);

    let ran = send(&file, &node.address, &["--owlt", "1"]).well();

    let told = "engine 2 gets 100.0 Mbit/s at first; a radio needs its own: --rate";
    assert!(ran.out.contains(told), "{}", ran.out);
}
