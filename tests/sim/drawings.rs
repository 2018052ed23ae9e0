//! Ladders as text and SVG, and statistics.

use core::time::Duration;

use bytes::Bytes;
use farlink::sim::{Axis, Bands, Contacts, Drawing, FaultRule, Host, Ip, Line, Nat, World};
use farlink::{Path, Proto};

use crate::parcel_machine::{ParcelMachine, SendParcels, label};
use crate::scripted_machine::{Action, ScriptedMachine};

const MINUTE: Duration = Duration::from_secs(60);
const MILLI: Duration = Duration::from_millis(1);

fn mars(seed: u64, line: Line) -> (World, Host<ParcelMachine>, Host<ParcelMachine>) {
    let mut world = World::new(seed);
    let earth = world.host(1, ParcelMachine::default());
    let mars = world.host(2, ParcelMachine::default());
    world.name(earth, "earth");
    world.name(mars, "mars");
    world.label(|octets| Some(label(octets)));
    world.line(earth, mars, line);
    (world, earth, mars)
}

/// Writes a drawing where `FARLINK_DRAWINGS` says, to be looked at.
fn show(name: &str, svg: &str) {
    if let Ok(folder) = std::env::var("FARLINK_DRAWINGS") {
        std::fs::write(format!("{folder}/{name}.svg"), svg).unwrap();
    }
}

fn small() -> World {
    let line = |rules| Line {
        delay: 12 * MINUTE,
        contacts: Contacts::windows([(Duration::ZERO, 30 * MINUTE), (50 * MINUTE, 300 * MINUTE)]),
        rules: vec![rules],
        ..Line::default()
    };
    let (mut world, earth, mars) = mars(3, line(FaultRule::each([4, 5, 10])));
    world.line_from(mars, earth, line(FaultRule::nth(2)));
    let (to, parcels, pace) = (2, 10, 500 * MILLI);
    world
        .command(earth, SendParcels { to, parcels, pace })
        .unwrap();
    world.run_until_idle(300 * MINUTE);
    world
}

fn large() -> World {
    let line = Line {
        delay: 12 * MINUTE,
        jitter: 50 * MILLI,
        loss: 0.05,
        duplication: 0.002,
        ..Line::default()
    };
    let (mut world, earth, _) = mars(7, line);
    let (to, parcels, pace) = (2, 1900, 10 * MILLI);
    world
        .command(earth, SendParcels { to, parcels, pace })
        .unwrap();
    world.run_until_idle(300 * MINUTE);
    world
}

/// Questions and answers, quickly one after the other, through a NAT.
fn chat() -> World {
    let mut world = World::new(11);
    world.internet(Line {
        delay: 3 * MILLI,
        jitter: MILLI,
        loss: 0.01,
        ..Line::default()
    });
    let home = world.nat(Ip::at([198, 51, 100, 1]), Nat::default());
    let client = world.host(
        Ip::at([10, 0, 0, 2]).behind(home),
        ScriptedMachine::<Path>::default(),
    );
    let server = world.host(Ip::at([192, 0, 2, 1]), ScriptedMachine::<Path>::default());
    world.name(client, "client");
    world.name(server, "server");
    world.bind(client, Proto::Udp, "10.0.0.2:5000".parse().unwrap());
    world.bind(server, Proto::Udp, "192.0.2.1:53".parse().unwrap());
    world.label_events(client, |_| String::from("answer"));
    world.label_events(server, |_| String::from("question"));
    world.command(server, Action::Echo).unwrap();
    let path = Path::udp(
        "10.0.0.2:5000".parse().unwrap(),
        "192.0.2.1:53".parse().unwrap(),
    );
    for number in 0..1000_u32 {
        let octets = Bytes::from(format!("question {number}"));
        world.command_at(10 * MILLI * number, client, Action::Push(path, octets));
    }
    world.run_until_idle(300 * MINUTE);
    world
}

#[test]
fn a_drawing_is_one_well_formed_page() {
    for (name, world) in [("small", small()), ("large", large()), ("chat", chat())] {
        for axis in [Axis::Compressed, Axis::ToScale] {
            for bands in [Bands::WhenMany, Bands::Never] {
                let drawing = Drawing {
                    title: format!("Parcels to Mars, {name} & \"odd\" <title>"),
                    axis,
                    bands,
                };
                let svg = world.trace().svg(&drawing);
                show(&format!("{name}-{axis:?}-{bands:?}"), &svg);
                assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
                assert_eq!(svg.matches("<g>").count(), svg.matches("</g>").count());
                assert!(svg.contains("&amp; &quot;odd&quot; &lt;title&gt;"));
                assert!(!svg.contains("NaN") && !svg.contains("inf"));
            }
        }
    }
}

fn count(svg: &str, what: &str) -> usize {
    svg.matches(what).count()
}

#[test]
fn a_drawing_breaks_losses_colours_repeats_and_shades_contacts() {
    let world = small();
    let svg = world.trace().svg(&Drawing::default());

    // Each arrow is a path and a head; the legend has one more of each kind.
    assert_eq!(count(&svg, "class=\"arrow plain\""), 9 + 1);
    assert_eq!(count(&svg, "class=\"arrow again\""), 6 + 1);
    assert_eq!(count(&svg, "class=\"arrow lost ghost\""), 4 + 1);
    // Two windows in each direction, and the legend.
    assert_eq!(count(&svg, "class=\"contact\""), 2 * 2 + 1);
    assert_eq!(count(&svg, ">DATA 4 (lost by choice)</text>"), 1);
}

#[test]
fn two_thousand_messages_fit_a_page_as_bands_with_their_losses() {
    let world = large();
    let svg = world.trace().svg(&Drawing::default());

    assert!(svg.len() < 100_000, "{} octets", svg.len());
    assert_eq!(count(&svg, "middle\">1900 messages to mars, "), 1);
    // Every loss is drawn: in its band, or broken off, of which the legend has one more.
    let packets = world.trace().packets();
    let lost = packets.filter(|packet| packet.lost().is_some()).count();
    let (stubs, broken) = (
        count(&svg, "arrow lost stub"),
        count(&svg, "arrow lost ghost"),
    );
    assert_eq!(stubs + broken, lost + 1);
    assert!(stubs > 80, "{stubs}");
}

#[test]
fn what_a_line_copies_and_corrupts_is_counted_on_bands_and_does_not_lengthen_the_page() {
    let drawn = |duplication, corruption| {
        let line = Line {
            delay: 12 * MINUTE,
            duplication,
            corruption,
            ..Line::default()
        };
        let (mut world, earth, _) = mars(7, line);
        let (to, parcels, pace) = (2, 1000, 10 * MILLI);
        world
            .command(earth, SendParcels { to, parcels, pace })
            .unwrap();
        world.run_until_idle(300 * MINUTE);
        let packets = world.trace().packets().filter(|packet| packet.is_copy);
        (packets.count(), world.trace().svg(&Drawing::default()))
    };
    let (_, clean) = drawn(0.0, 0.0);
    let (copies, doubled) = drawn(0.1, 0.0);
    let (_, spoilt) = drawn(0.0, 0.1);

    assert!(copies > 50, "{copies}");
    assert!(doubled.contains(" copied</text>"));
    assert!(spoilt.contains(" corrupted"));
    assert!(doubled.len() < 2 * clean.len(), "{}", doubled.len());
}

#[test]
fn a_scale_gives_equal_spans_equal_lengths_and_a_compressed_axis_shortens_waits() {
    let height = |world: &World, axis| {
        let drawing = Drawing {
            axis,
            ..Drawing::default()
        };
        let svg = world.trace().svg(&drawing);
        let start = svg.find("height=\"").unwrap() + 8;
        let text: String = svg[start..]
            .chars()
            .take_while(char::is_ascii_digit)
            .collect();
        text.parse::<u32>().unwrap()
    };
    let quiet = |hours: u32| {
        let (mut world, earth, _) = mars(1, Line::default());
        let send = move |world: &mut World| {
            let (to, parcels, pace) = (2, 1, MILLI);
            world
                .command(earth, SendParcels { to, parcels, pace })
                .unwrap();
        };
        send(&mut world);
        world.at(60 * MINUTE * hours, send);
        world.run_until_idle(60 * MINUTE * hours * 2);
        world
    };

    assert_eq!(
        height(&quiet(1), Axis::Compressed),
        height(&quiet(100), Axis::Compressed)
    );
    let svg = quiet(1).trace().svg(&Drawing {
        axis: Axis::ToScale,
        ..Drawing::default()
    });
    let ticks: Vec<f64> = svg
        .lines()
        .filter(|line| line.contains("class=\"tick\""))
        .map(|line| {
            let start = line.find("y1=\"").unwrap() + 4;
            let text: String = line[start..]
                .chars()
                .take_while(|letter| *letter != '"')
                .collect();
            text.parse().unwrap()
        })
        .collect();
    assert!(ticks.len() > 10);
    let first = ticks[1] - ticks[0];
    assert!(
        ticks
            .windows(2)
            .all(|two| (two[1] - two[0] - first).abs() < 0.21)
    );
}

#[test]
fn contacts_after_the_last_packet_are_not_drawn() {
    let drawn = |hours: u32| {
        let line = Line {
            contacts: Contacts::periodic(Duration::ZERO, 4 * MINUTE, 40 * MINUTE),
            ..Line::delayed(MINUTE)
        };
        let (mut world, earth, _) = mars(1, line);
        let (to, parcels, pace) = (2, 1, MILLI);
        world
            .command(earth, SendParcels { to, parcels, pace })
            .unwrap();
        world.run_until(60 * MINUTE * hours);
        (world.ladder(), world.trace().svg(&Drawing::default()))
    };

    let (hour, day) = (drawn(1), drawn(24));

    assert!(hour.0.ends_with("* Delivered          |\n"), "{}", hour.0);
    assert_eq!(hour, day);
}

#[test]
fn a_contact_is_drawn_above_what_arrives_at_its_beginning() {
    let (mut world, earth, mars) = mars(1, Line::delayed(12 * MINUTE));
    let back = Line {
        contacts: Contacts::windows([(12 * MINUTE, 20 * MINUTE)]),
        ..Line::default()
    };
    world.line_from(mars, earth, back);
    let (to, parcels, pace) = (2, 1, MILLI);
    world
        .command(earth, SendParcels { to, parcels, pace })
        .unwrap();
    world.run_until(60 * MINUTE);

    let svg = world.trace().svg(&Drawing::default());

    let after = |start: &str, key: &str| {
        let text = &svg[svg.find(start).unwrap()..];
        let text = &text[text.find(key).unwrap() + key.len()..];
        let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.');
        text[..end.unwrap()].parse::<f64>().unwrap()
    };
    let up = after("<title>12:00: Up</title>", "cy=\"");
    let arrow = &svg[svg.find("<title>DATA 0: ").unwrap()..];
    let path = arrow.split('"').find(|part| part.starts_with('M')).unwrap();
    let arrival: f64 = path.rsplit(' ').next().unwrap().parse().unwrap();
    assert!(up < arrival, "{up} {arrival}");
}

#[test]
fn a_long_ladder_shows_the_first_and_the_last_of_like_messages() {
    let ladder = large().ladder();

    let rows: Vec<&str> = ladder.lines().take(5).map(str::trim_end).collect();
    assert!(rows[1].contains(" DATA 0 "), "{ladder}");
    assert!(
        rows[2].trim_start().starts_with("|  ... 1898 more, "),
        "{ladder}"
    );
    assert!(ladder.lines().count() < 100, "{ladder}");
}

#[test]
fn a_label_is_cut_only_where_its_arrow_ends() {
    let label = |len: usize| {
        let (mut world, earth, _) = mars(1, Line::delayed(MINUTE));
        world.label(move |_| Some("x".repeat(len)));
        let (to, parcels, pace) = (2, 1, MILLI);
        world
            .command(earth, SendParcels { to, parcels, pace })
            .unwrap();
        world.run_until(MINUTE);
        world.trace().svg(&Drawing::default())
    };

    assert!(label(60).contains(&format!(">{}</text>", "x".repeat(60))));
    assert!(label(100).contains("xx..</text>"));
}

#[test]
fn what_is_written_on_bands_does_not_overlap() {
    let (mut world, earth, mars) = mars(7, Line::delayed(MINUTE));
    let (parcels, pace) = (500, 100 * MILLI);
    for (from, to) in [(earth, 2), (mars, 1)] {
        world
            .command(from, SendParcels { to, parcels, pace })
            .unwrap();
    }
    world.run_until_idle(300 * MINUTE);

    for axis in [Axis::ToScale, Axis::Compressed] {
        let svg = world.trace().svg(&Drawing {
            axis,
            ..Drawing::default()
        });

        let texts = svg
            .split("<text ")
            .map(|text| text.split('>').next().unwrap())
            .filter(|text| text.contains("class=\"count"));
        let mut places: Vec<(&str, f64)> = texts
            .map(|text| {
                let mut values = text.split('"').skip(1).step_by(2);
                let (x, y) = (values.next().unwrap(), values.next().unwrap());
                (x, y.parse().unwrap())
            })
            .collect();
        places.sort_by(|one, other| one.partial_cmp(other).unwrap());

        assert!(places.len() >= 2, "{places:?}");
        let apart = |pair: &[(&str, f64)]| pair[0].0 != pair[1].0 || pair[1].1 - pair[0].1 >= 10.0;
        assert!(places.windows(2).all(apart), "{places:?}");
    }
}

#[test]
fn many_hosts_are_listed_in_words() {
    let mut world = World::new(1);
    let hosts: Vec<Host<ParcelMachine>> = (0..8)
        .map(|name| world.host(name, ParcelMachine::default()))
        .collect();
    world.label(|octets| Some(label(octets)));
    for (one, other) in hosts.iter().zip(&hosts[1..]) {
        world.line(*one, *other, Line::delayed(MILLI));
    }
    for (to, from) in (1..).zip(&hosts[..7]) {
        let (parcels, pace) = (1, MILLI);
        world
            .command(*from, SendParcels { to, parcels, pace })
            .unwrap();
    }

    world.run_until(2 * MILLI);

    let ladder = world.ladder();
    assert!(
        ladder.starts_with("     0.000  0 -> 1: DATA 0  0.001\n"),
        "{ladder}"
    );
}

#[test]
fn a_ladder_tells_the_story() {
    insta::assert_snapshot!(small().ladder());
}

#[test]
fn the_table_counts_everything() {
    insta::assert_snapshot!(large().statistics().to_string());
}
