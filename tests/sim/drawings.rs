//! Ladders in text and as drawings, and the table.

use core::time::Duration;

use bytes::Bytes;
use farlink::sim::{Axis, Bands, Contacts, Drawing, Host, Ip, Line, Nat, World};
use farlink::{Path, Proto};

use crate::courier::{Courier, Deliver, label};
use crate::puppet::{Do, Puppet};

const MINUTE: Duration = Duration::from_secs(60);
const MILLI: Duration = Duration::from_millis(1);

fn mars(seed: u64, line: Line) -> (World, Host<Courier>, Host<Courier>) {
    let mut world = World::new(seed);
    let earth = world.host(1, Courier::default());
    let mars = world.host(2, Courier::default());
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
    let line = Line {
        delay: 12 * MINUTE,
        loss: 0.2,
        contacts: Contacts::windows([(Duration::ZERO, 30 * MINUTE), (50 * MINUTE, 300 * MINUTE)]),
        ..Line::default()
    };
    let (mut world, earth, _) = mars(3, line);
    let (to, parcels, pace) = (2, 10, 500 * MILLI);
    world.command(earth, Deliver { to, parcels, pace }).unwrap();
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
    world.command(earth, Deliver { to, parcels, pace }).unwrap();
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
        Puppet::<Path>::default(),
    );
    let server = world.host(Ip::at([192, 0, 2, 1]), Puppet::<Path>::default());
    world.name(client, "client");
    world.name(server, "server");
    world.bind(client, Proto::Udp, "10.0.0.2:5000".parse().unwrap());
    world.bind(server, Proto::Udp, "192.0.2.1:53".parse().unwrap());
    world.label_events(client, |_| String::from("answer"));
    world.label_events(server, |_| String::from("question"));
    world.command(server, Do::Echo).unwrap();
    let path = Path::udp(
        "10.0.0.2:5000".parse().unwrap(),
        "192.0.2.1:53".parse().unwrap(),
    );
    for number in 0..1000_u32 {
        let octets = Bytes::from(format!("question {number}"));
        world.command_at(10 * MILLI * number, client, Do::Push(path, octets));
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

#[test]
fn a_ladder_tells_the_story() {
    insta::assert_snapshot!(small().ladder());
}

#[test]
fn the_table_counts_everything() {
    insta::assert_snapshot!(large().statistics().to_string());
}
