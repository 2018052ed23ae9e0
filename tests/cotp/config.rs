//! Configurations that are refused.

use std::num::NonZeroU16;
use std::time::Duration;

use bytes::Bytes;
use farlink::{Instant, Seed};

use crate::cotp_probe::*;

fn refused(config: Config) -> Option<ConfigError> {
    Connection::new(config, &Seed::from(1)).err()
}

#[test]
fn every_default_is_accepted() {
    assert_eq!(refused(Config::default()), None);
    assert_eq!(refused(anybody()), None);
    assert_eq!(refused(asking()), None);
}

#[test]
fn a_preferred_size_has_at_most_511_units() {
    let preferring = |units| Config {
        compat: Compat {
            preferred_size: NonZeroU16::new(units),
            ..Compat::default()
        },
        ..Config::default()
    };

    assert_eq!(refused(preferring(511)), None);
    assert_eq!(
        refused(preferring(512)),
        Some(ConfigError::PreferredSize(512))
    );
}

#[test]
fn the_order_names_each_parameter_once() {
    use Parameter::{Called, Calling};

    let order = ParameterOrder([Calling, Called, Called]);

    assert_eq!(
        refused(Config {
            compat: Compat {
                order,
                ..anybody().compat
            },
            ..anybody()
        }),
        Some(ConfigError::Order)
    );
}

#[test]
fn the_packet_limit_leaves_room_for_the_largest_tpdu() {
    let limited = |packet_limit, tpdu_size, units| Config {
        tpdu_size,
        limits: ConnectionLimits {
            packet_limit,
            ..anybody().limits
        },
        compat: Compat {
            preferred_size: NonZeroU16::new(units),
            ..anybody().compat
        },
        ..anybody()
    };

    assert_eq!(refused(limited(132, TpduSize::SMALLEST, 0)), None);
    assert_eq!(
        refused(limited(131, TpduSize::SMALLEST, 0)),
        Some(ConfigError::PacketLimit {
            limit: 131,
            least: 132
        })
    );
    assert_eq!(
        refused(limited(132, TpduSize::SMALLEST, 2)),
        Some(ConfigError::PacketLimit {
            limit: 132,
            least: 260
        })
    );
    assert_eq!(refused(limited(65_535, TpduSize::LARGEST, 511)), None);
    assert_eq!(
        refused(limited(65_534, TpduSize::LARGEST, 0)),
        Some(ConfigError::PacketLimit {
            limit: 65_534,
            least: 65_535
        })
    );
}

#[test]
fn a_variable_part_has_at_most_248_octets() {
    let raw = |len: usize| {
        proposing(Proposal {
            variable: Some(vec![7; len].into()),
            long_request: true,
            ..Proposal::default()
        })
    };
    let calling = |len: usize| Config {
        tpdu_size: TpduSize::LARGEST,
        ..proposing(Proposal {
            calling: selector(&vec![7; len]),
            long_request: true,
            ..Proposal::default()
        })
    };

    assert_eq!(refused(raw(248)), None);
    assert_eq!(
        refused(raw(249)),
        Some(ConfigError::Variable {
            len: 249,
            limit: 248
        })
    );
    assert_eq!(refused(calling(246)), None);
    for len in [247, 255, 256, 300, 70_000] {
        assert!(
            matches!(
                refused(calling(len)),
                Some(ConfigError::Variable { limit: 248, .. })
            ),
            "a selector of {len} octets"
        );
    }
}

#[test]
fn a_request_has_at_most_128_octets_unless_long_ones_are_allowed() {
    let request = |len: usize, long_request| {
        proposing(Proposal {
            variable: Some(vec![7; len].into()),
            user_data: Bytes::from_static(b"a"),
            long_request,
            ..Proposal::default()
        })
    };

    assert_eq!(refused(request(120, false)), None);
    assert_eq!(
        refused(request(121, false)),
        Some(ConfigError::Request {
            len: 129,
            limit: 128
        })
    );
    assert_eq!(refused(request(121, true)), None);
}

#[test]
fn user_data_have_at_most_32_octets() {
    let user_data = |len: usize| {
        proposing(Proposal {
            user_data: vec![7; len].into(),
            ..Proposal::default()
        })
    };

    assert_eq!(refused(user_data(32)), None);
    assert_eq!(
        refused(user_data(33)),
        Some(ConfigError::UserData { len: 33, limit: 32 })
    );
}

#[test]
fn the_receive_queue_holds_at_least_one_octet() {
    assert_eq!(
        refused(Config {
            limits: ConnectionLimits {
                receive_queue: 0,
                ..anybody().limits
            },
            ..anybody()
        }),
        Some(ConfigError::ReceiveQueue)
    );
}

#[test]
fn a_timer_of_0_s_is_refused() {
    let zero = Some(Duration::ZERO);
    let usual = Config::default;
    for (timer, config) in [
        (
            "answer_timeout",
            Config {
                timers: ConnectionTimers {
                    answer_timeout: zero,
                    ..usual().timers
                },
                ..usual()
            },
        ),
        (
            "request_timeout",
            Config {
                timers: ConnectionTimers {
                    request_timeout: zero,
                    ..usual().timers
                },
                ..usual()
            },
        ),
        (
            "packet_timeout",
            Config {
                timers: ConnectionTimers {
                    packet_timeout: zero,
                    ..usual().timers
                },
                ..usual()
            },
        ),
        (
            "idle_timeout",
            Config {
                timers: ConnectionTimers {
                    idle_timeout: zero,
                    ..usual().timers
                },
                ..usual()
            },
        ),
        (
            "drain_timeout",
            Config {
                timers: ConnectionTimers {
                    drain_timeout: Duration::ZERO,
                    ..usual().timers
                },
                ..usual()
            },
        ),
        (
            "close_timeout",
            Config {
                timers: ConnectionTimers {
                    close_timeout: Duration::ZERO,
                    ..usual().timers
                },
                ..usual()
            },
        ),
    ] {
        assert_eq!(refused(config), Some(ConfigError::ZeroTimeout { timer }));
    }
}

#[test]
fn a_timer_beyond_the_end_of_time_never_expires() {
    let mut probe = Probe::up(Config {
        timers: ConnectionTimers {
            answer_timeout: Some(Duration::MAX),
            ..bare().timers
        },
        ..bare()
    });

    assert_eq!(probe.deadline, Some(Instant::MAX));
    probe.feed(BARE_CC);
    probe.connected();
}
