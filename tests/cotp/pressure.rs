//! Back-pressure both ways, flushes, and memory.

use bytes::Bytes;
use farlink::{Ask, Cause, Limits, Link, Output, Tag};

use crate::cotp_probe::*;

fn queue_of(octets: usize) -> Config {
    Config {
        limits: ConnectionLimits {
            send_queue: octets,
            ..anybody().limits
        },
        ..anybody()
    }
}

/// An open responder whose link is full.
fn stuck(config: Config) -> Probe {
    let mut probe = Probe::responder(config);
    probe.link(Link::Full);
    probe
}

#[test]
fn a_full_queue_refuses_a_message_with_its_limit() {
    let mut probe = stuck(queue_of(300));

    probe.send(&[7; 100]).unwrap();

    assert_eq!(
        probe.send(&[7; 100]),
        Err(Error::Full {
            queued: 164,
            limit: 300
        }),
        "a message costs 64 octets more than it has"
    );
    probe.send(&[7; 72]).unwrap();
}

#[test]
fn room_follows_full_exactly_once() {
    let mut probe = stuck(queue_of(300));
    probe.send(&[7; 200]).unwrap();
    assert!(matches!(probe.send(&[7; 100]), Err(Error::Full { .. })));
    assert!(matches!(probe.send(&[7; 100]), Err(Error::Full { .. })));
    assert_eq!(probe.events(), []);

    probe.link(Link::Free);
    assert_eq!(probe.events(), [Event::Room]);

    probe.send(&[7; 100]).unwrap();
    probe.send(&[7; 100]).unwrap();
    assert_eq!(probe.events(), []);
}

#[test]
fn room_is_not_reported_when_nothing_was_refused() {
    let mut probe = stuck(queue_of(300));
    probe.send(&[7; 200]).unwrap();

    probe.link(Link::Free);

    assert_eq!(probe.events(), []);
}

#[test]
fn room_waits_until_the_longest_refused_message_fits() {
    let mut probe = Probe::with_limits(queue_of(1000), Limits::stream(300));
    probe.link(Link::Up);
    probe.feed(BARE_CR);
    probe.connected();
    for _ in 0..3 {
        probe
            .run_undrained(Command::Send(vec![7; 200].into()))
            .unwrap();
    }
    assert!(matches!(
        probe.run_undrained(Command::Send(vec![7; 900].into())),
        Err(Error::Full { .. })
    ));
    assert!(matches!(
        probe.run_undrained(Command::Send(vec![7; 200].into())),
        Err(Error::Full { .. })
    ));

    assert_eq!(probe.poll(), Output::Transmit);
    assert_eq!(probe.poll(), Output::Transmit);
    assert_eq!(probe.poll(), Output::Transmit);
    assert_eq!(probe.poll(), Output::Event(Event::Room));
}

#[test]
fn half_the_queue_is_free_before_room_is_reported() {
    let mut probe = Probe::with_limits(queue_of(1000), Limits::stream(107));
    probe.link(Link::Up);
    probe.feed(BARE_CR);
    probe.connected();
    while probe
        .run_undrained(Command::Send(vec![7; 100].into()))
        .is_ok()
    {}

    let mut sends = 0;
    while let Output::Transmit = probe.poll() {
        sends += 1;
    }

    assert_eq!(sends, 3, "6 messages of 164 octets were queued");
}

#[test]
fn a_message_longer_than_the_queue_is_too_long_and_no_room_follows() {
    let mut probe = stuck(Config {
        compat: Compat {
            empty: EmptyMessages::Send,
            ..queue_of(100).compat
        },
        ..queue_of(100)
    });
    let mut tiny = stuck(Config {
        compat: Compat {
            empty: EmptyMessages::Send,
            ..queue_of(63).compat
        },
        ..queue_of(63)
    });

    assert_eq!(
        probe.send(&[7; 37]),
        Err(Error::TooLong { len: 37, limit: 36 })
    );
    assert_eq!(tiny.send(b""), Err(Error::TooLong { len: 0, limit: 0 }));
    probe.link(Link::Free);

    assert_eq!(probe.events(), []);
    probe.send(&[7; 36]).unwrap();
}

#[test]
fn expedited_data_count_in_the_send_queue() {
    let mut probe = Probe::up(Config {
        compat: Compat {
            expedited: true,
            ..queue_of(100).compat
        },
        ..queue_of(100)
    });
    probe.feed("03 00 00 0E 09 E0 00 00 12 34 00 C6 01 01");
    probe.connected();
    probe.link(Link::Full);

    let urgent = || Command::SendExpedited(Bytes::from_static(b"A"));
    probe.run(urgent()).unwrap();
    assert!(matches!(probe.run(urgent()), Err(Error::Full { .. })));
    probe.link(Link::Free);

    assert_eq!(probe.events(), [Event::Room]);
}

#[test]
fn nothing_is_written_while_the_link_is_full() {
    let mut probe = stuck(anybody());

    probe.send(b"abc").unwrap();
    assert_eq!(probe.sent(), "");
    probe.link(Link::Free);

    assert_eq!(probe.sent(), ABC);
}

#[test]
fn messages_are_received_while_the_link_is_full() {
    let mut probe = stuck(anybody());

    probe.feed(ABC);

    assert_eq!(probe.events(), [received(b"abc")]);
}

#[test]
fn the_stream_is_not_read_while_the_receive_queue_is_full() {
    let mut probe = Probe::responder(Config {
        limits: ConnectionLimits {
            receive_queue: 200,
            ..anybody().limits
        },
        ..anybody()
    });
    let mut count = 0;

    while probe.wants() {
        probe.flood_undrained(&hex(ABC));
        count += 1;
    }

    assert_eq!(count, 3, "each costs 67 octets");
    assert!(matches!(probe.poll(), Output::Event(Event::Received(_))));
    assert!(probe.wants(), "and is read again once a message is taken");
}

#[test]
fn a_stream_with_octets_that_wait_is_not_wanted() {
    let mut probe = Probe::responder(Config {
        limits: ConnectionLimits {
            receive_queue: 1,
            ..anybody().limits
        },
        ..anybody()
    });

    probe.flood_undrained(&hex(&[ABC, ABC].join(" ")));
    assert!(!probe.wants());
    assert!(matches!(probe.poll(), Output::Event(Event::Received(_))));
    assert!(
        !probe.wants(),
        "the second message is decoded by the next poll"
    );
    assert!(matches!(probe.poll(), Output::Event(Event::Received(_))));

    assert!(probe.wants());
}

#[test]
fn octets_that_were_not_wanted_end_the_connection() {
    let held = || {
        let mut probe = Probe::up(asking());
        probe.feed(&[BARE_CR, ABC].join(" "));
        probe.indication();
        probe
    };
    let paused = || {
        let mut probe = Probe::up(Config {
            after_handshake: AfterHandshake::Pause,
            ..anybody()
        });
        probe.feed(BARE_CR);
        probe.connected();
        probe
    };
    let handing = || {
        let mut probe = stuck(anybody());
        probe.send(b"abc").unwrap();
        probe.run(Command::Detach(Tag(7))).unwrap();
        probe.link(Link::Full);
        probe
    };
    for mut probe in [held(), paused(), handing()] {
        assert!(!probe.wants());

        probe.flood(b"x");

        assert_eq!(probe.reason(), EndReason::Overrun);
        assert_eq!(probe.asks(), [Ask::Abort(())]);
    }
}

#[test]
fn an_empty_receive_is_no_overrun_and_no_activity() {
    let mut paused = Probe::responder(Config {
        after_handshake: AfterHandshake::Pause,
        ..anybody()
    });
    let mut idle = Probe::responder(Config {
        timers: ConnectionTimers {
            idle_timeout: Some(5 * SECOND),
            ..anybody().timers
        },
        ..anybody()
    });

    paused.flood(b"");
    idle.pass(SECOND);
    idle.feed("");

    assert_eq!(paused.events(), []);
    assert_eq!(idle.wait(), Some(4 * SECOND));
}

#[test]
fn octets_that_waited_free_their_memory() {
    let mut probe = Probe::responder(Config {
        limits: ConnectionLimits {
            receive_queue: 1,
            ..anybody().limits
        },
        ..anybody()
    });
    let idle = probe.machine.memory_used();

    for _ in 0..100 {
        probe.feed(&[ABC; 50].join(" "));
        assert_eq!(probe.events().len(), 50);
    }

    assert_eq!(probe.machine.memory_used(), idle);
}

#[test]
fn memory_stays_below_the_limit_of_the_configuration() {
    let mut probe = Probe::responder(Config {
        limits: ConnectionLimits {
            receive_queue: 1000,
            message_limit: 1000,
            ..anybody().limits
        },
        ..anybody()
    });
    let segment = hex("03 00 00 0A 02 F0 00 61 62 63");
    let last = hex(ABC);
    let mut most = 0;

    for round in 0..1000 {
        if probe.wants() {
            probe.flood_undrained(if round % 300 == 299 { &last } else { &segment });
        }
        most = most.max(probe.machine.memory_used());
    }

    assert!(most < 6000, "{most} bytes");
}

#[test]
fn a_long_first_packet_frees_its_memory() {
    let mut probe = Probe::up(anybody());
    let mut cr = hex("03 00 FF FF 06 E0 00 00 12 34 00");
    cr.resize(0xFFFF, 7);

    cr.chunks(1000).for_each(|chunk| probe.feed_octets(chunk));

    assert_eq!(probe.connected().user_data.len(), 0xFFFF - 11);
    assert!(
        probe.machine.memory_used() < 1000,
        "{} bytes",
        probe.machine.memory_used()
    );
}

#[test]
fn a_flush_is_reported_when_all_messages_are_written() {
    let mut probe = stuck(anybody());
    probe.send(b"abc").unwrap();

    probe.run(Command::Flush(Tag(1))).unwrap();
    assert_eq!(probe.events(), []);
    probe.link(Link::Free);

    assert_eq!(probe.events(), [Event::Flushed(Tag(1))]);
}

#[test]
fn a_flush_of_an_empty_queue_is_reported_at_once() {
    let mut probe = Probe::responder(anybody());

    probe.run(Command::Flush(Tag(1))).unwrap();

    assert_eq!(probe.events(), [Event::Flushed(Tag(1))]);
}

#[test]
fn a_flush_waits_for_a_link_that_keeps_part_of_the_last_send() {
    let mut probe = Probe::responder(anybody());
    probe
        .run_undrained(Command::Send(Bytes::from_static(b"abc")))
        .unwrap();
    probe.run_undrained(Command::Flush(Tag(1))).unwrap();
    assert_eq!(probe.poll(), Output::Transmit);

    probe.link(Link::Full);
    assert_eq!(probe.events(), []);
    probe.link(Link::Free);

    assert_eq!(probe.events(), [Event::Flushed(Tag(1))]);
}

#[test]
fn a_flush_does_not_wait_for_later_messages() {
    let mut probe = Probe::with_limits(anybody(), Limits::stream(10));
    probe.link(Link::Up);
    probe.feed(BARE_CR);
    probe.connected();
    probe
        .run_undrained(Command::Send(Bytes::from_static(b"abc")))
        .unwrap();
    probe.run_undrained(Command::Flush(Tag(1))).unwrap();
    probe
        .run_undrained(Command::Send(Bytes::from_static(b"def")))
        .unwrap();
    probe.run_undrained(Command::Flush(Tag(2))).unwrap();

    assert_eq!(probe.poll(), Output::Transmit);
    assert_eq!(probe.poll(), Output::Event(Event::Flushed(Tag(1))));
    assert_eq!(probe.poll(), Output::Transmit);
    assert_eq!(probe.poll(), Output::Event(Event::Flushed(Tag(2))));
}

#[test]
fn flushes_before_a_close_are_reported_before_it() {
    let mut probe = stuck(anybody());
    probe.send(b"abc").unwrap();
    probe.run(Command::Flush(Tag(1))).unwrap();
    probe.run(Command::Close).unwrap();

    probe.link(Link::Free);
    probe.link(Link::Ended);

    assert_eq!(
        probe.events(),
        [Event::Flushed(Tag(1)), closed(EndReason::Closed)]
    );
}

#[test]
fn a_flush_that_the_end_overtakes_is_not_reported() {
    let mut probe = stuck(anybody());
    probe.send(b"abc").unwrap();
    probe.run(Command::Flush(Tag(1))).unwrap();

    probe.link(Link::Down(Cause::Reset));

    assert_eq!(probe.events().len(), 1, "the end alone");
}

#[test]
fn sixty_four_flushes_may_be_pending() {
    let mut probe = Probe::responder(anybody());
    for tag in 0..64 {
        probe.run_undrained(Command::Flush(Tag(tag))).unwrap();
    }

    assert_eq!(
        probe.run_undrained(Command::Flush(Tag(64))),
        Err(Error::Flushes { limit: 64 })
    );
    probe.drain();

    assert_eq!(probe.events().len(), 64);
    probe.run(Command::Flush(Tag(65))).unwrap();
}

#[test]
fn flushes_that_are_not_polled_are_limited() {
    let mut probe = Probe::responder(anybody());
    let mut refused = 0;

    for round in 0..10_000 {
        refused += u32::from(probe.run_undrained(Command::Flush(Tag(round))).is_err());
        if round % 64 == 0 {
            assert!(matches!(probe.poll(), Output::Event(Event::Flushed(_))));
        }
    }

    assert!(refused > 9000);
    assert!(
        probe.machine.memory_used() < 5000,
        "{} bytes",
        probe.machine.memory_used()
    );
}

#[test]
fn an_idle_connection_stays_small_whatever_it_did() {
    let mut pair = Pair::open(Config::default(), anybody());

    for _ in 0..200 {
        pair.initiator
            .run_undrained(Command::Send(vec![7; 5000].into()))
            .unwrap();
        pair.responder
            .run_undrained(Command::Send(vec![7; 50].into()))
            .unwrap();
    }
    for tag in 0..64 {
        pair.initiator
            .run_undrained(Command::Flush(Tag(tag)))
            .unwrap();
    }
    pair.initiator.drain();
    pair.responder.drain();
    pair.pump();

    for probe in [&pair.initiator, &pair.responder] {
        let bytes = size_of::<Connection>() + probe.machine.memory_used();
        assert!(bytes <= 1024, "{bytes} bytes");
    }
}

#[test]
fn bursts_of_everything_leave_an_idle_connection_small() {
    for burst in 1..20 {
        let mut probe = Probe::up(Config {
            compat: Compat {
                expedited: true,
                ..anybody().compat
            },
            ..anybody()
        });
        probe.feed("03 00 00 0E 09 E0 00 00 12 34 00 C6 01 01");
        probe.connected();

        for tag in 0..burst {
            let message = Bytes::from_static(b"abc");
            probe.run_undrained(Command::Send(message.clone())).unwrap();
            probe
                .run_undrained(Command::SendExpedited(message))
                .unwrap();
            probe.run_undrained(Command::Flush(Tag(tag))).unwrap();
            probe.flood_undrained(&hex(ABC));
            let mut urgent = hex("03 00 00 17 02 10 80");
            urgent.resize(0x17, 7);
            let (head, tail) = urgent.split_at(9 + usize::try_from(tag).unwrap() % 9);
            probe.flood_undrained(head);
            probe.flood_undrained(tail);
        }
        probe.drain();

        let bytes = size_of::<Connection>() + probe.machine.memory_used();
        assert!(bytes <= 1024, "{bytes} bytes after bursts of {burst}");
    }
}

#[test]
fn two_ends_that_send_and_never_read_do_not_grow() {
    let small = |role| Config {
        role,
        limits: ConnectionLimits {
            send_queue: 1000,
            receive_queue: 1000,
            ..ConnectionLimits::default()
        },
        ..Config::default()
    };
    let mut probe = Probe::responder(small(Role::Responder(Policy::AcceptAny)));
    let mut most = 0;

    for round in 0..1000 {
        let _ = probe.run_undrained(Command::Send(vec![7; 100].into()));
        if probe.wants() {
            probe.flood_undrained(&hex(ABC));
        }
        if round == 10 {
            probe.link_undrained(Link::Full);
        }
        most = most.max(probe.machine.memory_used());
    }

    assert!(most < 8000, "{most} bytes");
}
