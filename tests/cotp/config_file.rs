//! Configurations as people write them, in TOML.

use std::time::Duration;

use crate::cotp_probe::*;

fn read(text: &str) -> Result<Config, toml::de::Error> {
    toml::from_str(text)
}

#[test]
fn an_empty_file_is_the_default() {
    assert_eq!(read("").unwrap(), Config::default());
}

#[test]
fn fields_that_are_missing_take_their_defaults() {
    let config = read(
        r#"
        tpdu_size = 1024
        answer_timeout = "1.3s"
        packet_timeout = 5
        request_timeout = "off"
        close_timeout = "250ms"
        idle_timeout = "2min"
        strict = "RESPONDING | CREDIT"

        [role.initiator]
        called = "hex:0102"
        "#,
    );

    assert_eq!(
        config.unwrap(),
        Config {
            tpdu_size: TpduSize::from_octets(1024).unwrap(),
            timers: ConnectionTimers {
                answer_timeout: Some(Duration::from_millis(1300)),
                packet_timeout: Some(5 * SECOND),
                request_timeout: None,
                close_timeout: Duration::from_millis(250),
                idle_timeout: Some(120 * SECOND),
                ..ConnectionTimers::default()
            },
            compat: Compat {
                strict: Strict::RESPONDING | Strict::CREDIT,
                ..Compat::default()
            },
            ..Config::initiator(None, selector(&[1, 2]))
        }
    );
}

#[test]
fn a_responder_has_a_policy() {
    let any = read("[role]\nresponder = \"accept_any\"");
    let one = read("[role.responder]\nselectors = [\"hex:0001\"]");

    assert_eq!(any.unwrap(), anybody());
    let policy = Policy::Selectors(vec![Selector::from(1)]);
    assert_eq!(one.unwrap(), Config::responder(policy));
}

#[test]
fn an_unknown_field_is_refused_with_its_name() {
    for (text, field) in [
        ("idle_timout = \"5s\"", "idle_timout"),
        ("[role.initiator]\ncaled = \"hex:01\"", "caled"),
    ] {
        let error = read(text).unwrap_err().to_string();

        assert!(error.contains(field), "{error}");
    }
}

#[test]
fn a_value_that_is_no_duration_is_refused_with_what_is_expected() {
    for text in [
        "close_timeout = \"5 parsecs\"",
        "close_timeout = -1",
        "close_timeout = \"off\"",
        "idle_timeout = true",
    ] {
        let error = read(text).unwrap_err().to_string();

        assert!(error.contains("1.3s"), "{error}");
    }
}

#[test]
fn what_is_written_is_read_back() {
    let config = Config {
        timers: ConnectionTimers {
            request_timeout: None,
            idle_timeout: Some(Duration::new(3, 141_592_653)),
            ..proposing(Proposal {
                calling: selector(b"here"),
                variable: Some(hex("01 02").into()),
                ..Proposal::default()
            })
            .timers
        },
        compat: Compat {
            reference: Some(7),
            strict: Strict::all(),
            ..proposing(Proposal {
                calling: selector(b"here"),
                variable: Some(hex("01 02").into()),
                ..Proposal::default()
            })
            .compat
        },
        ..proposing(Proposal {
            calling: selector(b"here"),
            variable: Some(hex("01 02").into()),
            ..Proposal::default()
        })
    };

    let json = serde_json::to_string(&config).unwrap();

    assert!(json.contains(r#""idle_timeout":"3.141592653s""#), "{json}");
    assert!(json.contains(r#""request_timeout":"off""#), "{json}");
    assert_eq!(serde_json::from_str::<Config>(&json).unwrap(), config);
}
