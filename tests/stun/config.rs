//! Configurations that are refused, and those of files.

use core::time::Duration;

use farlink::Seed;
use farlink::stun::{Client, Config};

use crate::talk::ms;

/// Returns why a configuration is refused.
fn refusal(change: impl FnOnce(&mut Config)) -> String {
    let mut config = Config::default();
    change(&mut config);
    let refused = Client::new(config, &Seed::from(1));
    refused
        .err()
        .map_or_else(String::new, |error| error.to_string())
}

#[test]
fn a_value_out_of_its_range_is_refused_by_name() {
    let day = Duration::from_secs(86_400);
    for (refused, words) in [
        (
            refusal(|it| it.rto = ms(0)),
            "rto: 0ns is not between 1ms and 1 day",
        ),
        (
            refusal(|it| it.stream_timeout = day + ms(1)),
            "stream_timeout: 86400.001s is not between 1ms and 1 day",
        ),
        (
            refusal(|it| it.pace = 2 * day),
            "pace: 172800s is not between 0ns and 1 day",
        ),
        (
            refusal(|it| it.idle = ms(0)),
            "idle: 0ns is not between 1ms and 1 day",
        ),
        (
            refusal(|it| it.sends = 0),
            "sends: 0 is not between 1 and 16",
        ),
        (
            refusal(|it| it.last_wait = 1001),
            "last_wait: 1001 is not between 1 and 1000",
        ),
        (
            refusal(|it| it.per_server = 0),
            "per_server: 0 is not between 1 and 255",
        ),
        (
            refusal(|it| it.queries = 257),
            "queries: 257 is not between 1 and 256",
        ),
        (
            refusal(|it| it.sockets = 0),
            "sockets: 0 is not between 1 and 256",
        ),
        (
            refusal(|it| it.max_message = 575),
            "max_message: 575 is not between 576 and 65552",
        ),
        (
            refusal(|it| it.software = "x".repeat(510)),
            "software: 510 octets exceed the limit of 509",
        ),
    ] {
        assert_eq!(refused, words);
    }
    assert_eq!(refusal(|_| ()), "");
    assert_eq!(refusal(|it| it.pace = ms(0)), "");
}

#[cfg(feature = "serde")]
#[test]
fn a_file_has_what_differs_from_the_default() {
    let config: Config = toml::from_str("rto = \"100ms\"\nsoftware = \"\"").unwrap();
    let expected = Config {
        rto: ms(100),
        software: String::new(),
        ..Config::default()
    };

    assert_eq!(config, expected);
    assert!(toml::from_str::<Config>("rta = 1").is_err());
    let printed = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<Config>(&printed).unwrap(), config);
}
