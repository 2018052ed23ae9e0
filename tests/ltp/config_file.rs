//! Configurations as people write them, in TOML.

use core::net::SocketAddr;
use core::time::Duration;

use farlink::ltp::{
    AdaptiveRedundancy, Config, Direction, Flow, Peer, Redundancy, RtoBounds, RtoPolicy,
};

fn read(text: &str) -> Result<Peer<SocketAddr>, toml::de::Error> {
    toml::from_str(text)
}

fn peer() -> Peer<SocketAddr> {
    Peer::new("192.0.2.1:1113".parse().unwrap())
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
fn a_peer_needs_its_address_alone() {
    assert_eq!(read(r#"address = "192.0.2.1:1113""#).unwrap(), peer());
    assert!(read("").unwrap_err().to_string().contains("`address`"));
}

#[test]
fn durations_are_text_or_seconds_and_missing_fields_take_their_defaults() {
    let text = r#"
        address = "192.0.2.1:1113"
        owlt_out = "20.5min"
        owlt_in = 1.3
        flow = { rate = { octets_per_second = 125000 } }
        keepalive = "15s"
        direction = "send_only"
        [redundancy.adaptive]
        spacing = "40ms"
        [rto.learned]
        max = 9
    "#;

    let expected = Peer {
        owlt_out: Duration::from_secs(1230),
        owlt_in: Duration::from_millis(1300),
        flow: Flow::rate(125_000),
        keepalive: Some(Duration::from_secs(15)),
        direction: Direction::SendOnly,
        redundancy: Redundancy::Adaptive(AdaptiveRedundancy {
            spacing: Duration::from_millis(40),
            ..AdaptiveRedundancy::default()
        }),
        rto: RtoPolicy::Learned(RtoBounds {
            max: Duration::from_secs(9),
            ..RtoBounds::default()
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
    for (text, field) in [
        ("owlt = 1", "owlt"),
        ("[redundancy.adaptive]\nspread = 1", "spread"),
        ("[rto.learned]\nleast = 1", "least"),
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
