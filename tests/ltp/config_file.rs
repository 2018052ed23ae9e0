//! Configurations as people write them, in TOML.

use core::net::SocketAddr;
use core::time::Duration;

use farlink::ltp::{
    AdaptiveRedundancy, Config, Direction, Engine, Flow, Peer, PeerLimits, PeerTimers, Redundancy,
    RtoBounds, RtoPolicy,
};
use farlink::{Hop, Instant, Seed};

fn read(text: &str) -> Result<Peer<SocketAddr>, toml::de::Error> {
    toml::from_str(text)
}

fn peer() -> Peer<SocketAddr> {
    Peer::at("192.0.2.1:1113".parse().unwrap())
}

#[test]
fn an_empty_file_is_the_default_engine() {
    assert_eq!(toml::from_str::<Config>("").unwrap(), Config::default());
    assert_eq!(
        toml::from_str::<Config>("engine = 9").unwrap(),
        Config::engine(9)
    );
}

#[test]
fn the_limits_of_an_engine_are_a_table() {
    let text = "engine = 9\n[limits]\npeers = 4\nimport_octets = 1000000";

    let read = toml::from_str::<Config>(text).unwrap();

    let mut expected = Config::engine(9);
    expected.limits.peers = 4;
    expected.limits.import_octets = 1_000_000;
    assert_eq!(read, expected);
}

#[test]
fn a_radio_is_its_rate_and_its_light_time() {
    let moon = peer().radio(4000, Duration::from_millis(1300));

    assert_eq!(moon.flow, Flow::rate(4000));
    let expected = PeerTimers {
        owlt_out: Duration::from_millis(1300),
        owlt_in: Duration::from_millis(1300),
        // A segment of 1400 octets may be ahead of the answer.
        remote_delay: Duration::from_millis(1350),
        ..PeerTimers::default()
    };
    assert_eq!(moon.timers, expected);
    assert_eq!(moon.limits, PeerLimits::default());
}

#[test]
fn a_duration_that_is_refused_is_told_with_the_field_and_its_table() {
    let century = Duration::from_secs(100 * 366 * 86_400);
    let mut engine = Engine::new(Config::default(), Seed::from(1)).unwrap();
    let mut refused = |change: fn(&mut Peer<Hop>, Duration)| {
        let mut peer = peer().map_address(|_| Hop {
            interface: 0,
            via: 2,
        });
        change(&mut peer, century);
        engine.add_peer(Instant::ZERO, 2, peer.clone()).unwrap();
        engine.remove_peer(Instant::ZERO, 2).unwrap();
        change(&mut peer, century + Duration::from_secs(1));
        let error = engine.add_peer(Instant::ZERO, 2, peer).unwrap_err();
        error.to_string()
    };

    assert_eq!(
        refused(|peer, span| peer.timers.owlt_in = span),
        "invalid peer: timers.owlt_in: duration of 3162240001s exceeds the limit of 3162240000s"
    );
    let error = refused(|peer, span| peer.timers.keepalive = Some(span));
    assert!(error.contains("timers.keepalive: "), "{error}");
}

#[test]
fn a_peer_needs_its_address_alone() {
    assert_eq!(read(r#"address = "192.0.2.1:1113""#).unwrap(), peer());
    assert!(read("").unwrap_err().to_string().contains("`address`"));
}

#[test]
fn a_radio_in_a_file_is_the_one_that_the_constructor_makes() {
    let text = r#"
        address = "192.0.2.7:1113"
        flow = { rate = { octets_per_second = 125000 } }
        [timers]
        owlt_out = "12min"
        owlt_in = "12min"
        remote_delay = "1.0112s"
    "#;

    let radio = Peer::at("192.0.2.7:1113".parse().unwrap());
    assert_eq!(
        read(text).unwrap(),
        radio.radio(125_000, Duration::from_secs(720))
    );
}

#[test]
fn durations_are_text_or_seconds_and_missing_fields_take_their_defaults() {
    let text = r#"
        address = "192.0.2.1:1113"
        flow = { rate = { octets_per_second = 125000 } }
        direction = "send_only"
        [redundancy.adaptive]
        spacing = "40ms"
        [timers]
        owlt_out = "20.5min"
        owlt_in = 1.3
        keepalive = "15s"
        rto.learned.max = 9
        [limits]
        exports = 3
    "#;

    let expected = Peer {
        timers: PeerTimers {
            owlt_out: Duration::from_secs(1230),
            owlt_in: Duration::from_millis(1300),
            keepalive: Some(Duration::from_secs(15)),
            rto: RtoPolicy::Learned(RtoBounds {
                max: Duration::from_secs(9),
                ..RtoBounds::default()
            }),
            ..PeerTimers::default()
        },
        limits: PeerLimits {
            exports: 3,
            ..PeerLimits::default()
        },
        flow: Flow::rate(125_000),
        direction: Direction::SendOnly,
        redundancy: Redundancy::Adaptive(AdaptiveRedundancy {
            spacing: Duration::from_millis(40),
            ..AdaptiveRedundancy::default()
        }),
        ..peer()
    };
    assert_eq!(read(text).unwrap(), expected);
    let json = serde_json::to_string(&expected).unwrap();
    assert_eq!(
        serde_json::from_str::<Peer<SocketAddr>>(&json).unwrap(),
        expected
    );
}

#[test]
fn an_unknown_field_is_refused_with_its_name() {
    let error = toml::from_str::<Config>("engin = 9").unwrap_err();
    assert!(
        error.to_string().contains("unknown field `engin`"),
        "{error}"
    );
    let error = toml::from_str::<Config>("limits.peer = 9").unwrap_err();
    assert!(
        error.to_string().contains("unknown field `peer`"),
        "{error}"
    );
    for (text, field) in [
        ("owlt_out = 1", "owlt_out"),
        ("[redundancy.adaptive]\nspread = 1", "spread"),
        ("[timers]\nowlt = 1", "owlt"),
        ("[timers.rto.learned]\nleast = 1", "least"),
        ("limits.max_exports = 1", "max_exports"),
    ] {
        let text = format!("address = \"192.0.2.1:1113\"\n{text}");
        let error = read(&text).unwrap_err().to_string();
        assert!(
            error.contains(&format!("unknown field `{field}`")),
            "{error}"
        );
    }
    let error = read("address = \"192.0.2.1:1113\"\nflow.rate.bits = 1").unwrap_err();
    assert!(error.to_string().contains("bits"), "{error}");
}
