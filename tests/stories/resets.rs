//! COTP cut off, or half closed, in every state.

use core::time::Duration;

use farlink::cotp::{Acceptance, AfterHandshake, Command, Config, Connection, Policy, Reason};
use farlink::sim::{Host, StreamLine};
use farlink::{Cause, Tag};

use crate::stage::{SECOND, Stage, client, message};

/// The states of a connection, from the first octet on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The CR is on its way.
    Requesting,
    /// The responder's application is asked.
    Indicated,
    /// The CC is on its way.
    Confirming,
    /// Nothing happens.
    Open,
    /// Messages are on their way both ways.
    Sending,
    /// Part of a message has arrived.
    Amid,
    /// More was accepted than the line takes.
    HeldUp,
    /// The initiator reads nothing until its application says so.
    Paused,
    /// The initiator has closed.
    Closing,
}

const STATES: [State; 9] = [
    State::Requesting,
    State::Indicated,
    State::Confirming,
    State::Open,
    State::Sending,
    State::Amid,
    State::HeldUp,
    State::Paused,
    State::Closing,
];

/// Brings both to a state, on a line with a delay of a second.
fn reach(state: State) -> Stage {
    let line = StreamLine {
        delay: SECOND,
        window: Some(20_000),
        // A DT of 8192 octets takes about two seconds.
        rate: (state == State::Amid).then_some(32_000),
        ..StreamLine::default()
    };
    let policy = match state {
        State::Indicated => Policy::Ask,
        _ => Policy::AcceptAny,
    };
    let client = Config {
        after_handshake: match state {
            State::Paused => AfterHandshake::Pause,
            _ => AfterHandshake::Receive,
        },
        ..client()
    };
    let mut stage = Stage::new(1, client, Config::responder(policy), line);
    if state == State::Paused {
        stage.world.awaits(stage.client, |()| true);
    }
    if state == State::Indicated {
        stage.world.awaits(stage.server, |()| true);
    }
    let steps = match state {
        State::Requesting => 1,
        State::Indicated | State::Confirming => 3,
        _ => 6,
    };
    stage.run(steps * SECOND / 2);
    match state {
        State::Sending => {
            stage.send(stage.client, &message(500, 0));
            stage.send(stage.server, &message(500, 0));
            stage.run(SECOND / 2);
        }
        State::Amid => {
            stage.send(stage.client, &message(16_000, 0));
            stage.run(4 * SECOND);
        }
        State::HeldUp => {
            for _ in 0..3 {
                stage.send(stage.client, &message(100_000, 0));
            }
            stage.run(SECOND / 2);
        }
        State::Closing => {
            stage.world.command(stage.client, Command::Close).unwrap();
            stage.run(SECOND / 2);
        }
        _ => {}
    }
    stage
}

fn cut(state: State, host: impl Fn(&Stage) -> Host<Connection>) -> Stage {
    let mut stage = reach(state);
    stage.world.note(stage.client, format!("{state:?}"));
    stage.world.reset(host(&stage), ());
    assert!(
        stage.world.run_until_idle(600 * SECOND),
        "{state:?}: it never rests"
    );
    stage
}

#[test]
fn a_reset_in_any_state_ends_both_sides_and_says_so() {
    let reset = Some(Reason::Link(Cause::Reset));
    for state in STATES {
        for is_client in [true, false] {
            let stage = cut(state, |stage| {
                if is_client {
                    stage.client
                } else {
                    stage.server
                }
            });

            let (client, server) = (stage.reason(stage.client), stage.reason(stage.server));
            // Who has said its last word is not interested in how the stream ends.
            let expected = if state == State::Closing {
                Some(Reason::Closed)
            } else {
                reset.clone()
            };
            assert_eq!(client, expected, "{state:?}, {is_client}");
            assert_eq!(server, reset, "{state:?}, {is_client}");
            assert!(stage.world.is_done(stage.client), "{state:?}");
            assert!(stage.world.is_done(stage.server), "{state:?}");
        }
    }
}

#[test]
fn a_reset_counts_what_is_lost() {
    let amid = cut(State::Amid, |stage| stage.server);
    let held_up = cut(State::HeldUp, |stage| stage.client);

    assert!(amid.end(amid.server).unwrap().incomplete > 0);
    let unsent = held_up.end(held_up.client).unwrap().unsent;
    assert!((200_000..300_000).contains(&unsent), "{unsent}");
}

#[test]
fn resets_as_ladders() {
    for state in STATES {
        let stage = cut(state, |stage| stage.client);
        insta::assert_snapshot!(format!("reset_{state:?}"), stage.world.ladder());
    }
}

/// Ends one direction behind the back of the side that writes.
fn half_close(state: State, is_client: bool) -> Stage {
    let mut stage = reach(state);
    let host = if is_client {
        stage.client
    } else {
        stage.server
    };
    stage.world.half_close(host, ());
    stage.run(5 * SECOND);
    if state == State::Paused {
        // Until then it has not even read that the stream ended.
        stage.world.command(stage.client, Command::Resume).unwrap();
    }
    assert!(
        stage.world.run_until_idle(600 * SECOND),
        "{state:?}: it never rests"
    );
    stage
}

#[test]
fn a_half_close_in_any_state_ends_both_sides_in_words() {
    for state in STATES {
        for is_client in [true, false] {
            let stage = half_close(state, is_client);

            let told = if is_client {
                stage.server
            } else {
                stage.client
            };
            let end = stage.end(told).map(|end| end.to_string());
            assert!(end.is_some(), "{state:?}, {is_client}");
            assert!(stage.end(stage.client).is_some(), "{state:?}, {is_client}");
            assert!(stage.end(stage.server).is_some(), "{state:?}, {is_client}");
        }
    }
}

#[test]
fn an_end_where_the_confirmation_was_due_is_told_apart() {
    let stage = half_close(State::Requesting, false);

    assert_eq!(
        stage.reason(stage.client),
        Some(Reason::ClosedBeforeConfirm)
    );
}

#[test]
fn an_end_in_the_middle_of_a_message_is_no_clean_close() {
    let stage = half_close(State::Amid, true);
    let whole = half_close(State::Open, true);

    // What was on the line arrives, and the end behind it.
    assert!(stage.end(stage.server).is_some());
    assert_eq!(whole.end(whole.server).unwrap().incomplete, 0);
    assert_eq!(whole.reason(whole.server), Some(Reason::PeerClosed));
}

#[test]
fn a_reset_before_the_answer_leaves_nothing_to_answer() {
    let mut stage = cut(State::Indicated, |stage| stage.client);

    let accept = Command::Accept(Acceptance::default());
    assert!(stage.world.command(stage.server, accept).is_err());
    assert!(
        stage
            .world
            .command(stage.client, Command::Flush(Tag(1)))
            .is_err()
    );
    let quiet: Duration = 600 * SECOND;
    assert!(stage.world.run_until_idle(stage.world.now() + quiet));
}
