//! COTP that is reset or half closed, in every state.

use core::time::Duration;

use farlink::cotp::{Acceptance, AfterHandshake, Command, Config, EndReason, Policy};
use farlink::sim::StreamLine;
use farlink::{Cause, Tag};

use crate::cotp_scene::{CotpHost, SECOND, Scene, client, message, responder};

/// Those whose recordings are kept.
pub(crate) const KEPT: &[fn()] = &[
    a_reset_in_any_state_ends_both_sides_with_that_reason,
    a_half_close_in_any_state_gives_both_sides_an_end,
];

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
fn reach(state: State) -> Scene {
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
    let mut scene = Scene::new(1, client, responder(policy), line);
    if state == State::Paused {
        scene.world.allow_unread(scene.client, |()| true);
    }
    if state == State::Indicated {
        scene.world.allow_unread(scene.server, |()| true);
    }
    let steps = match state {
        State::Requesting => 1,
        State::Indicated | State::Confirming => 3,
        _ => 6,
    };
    scene.run(steps * SECOND / 2);
    match state {
        State::Sending => {
            scene.send(scene.client, &message(500, 0));
            scene.send(scene.server, &message(500, 0));
            scene.run(SECOND / 2);
        }
        State::Amid => {
            scene.send(scene.client, &message(16_000, 0));
            scene.run(4 * SECOND);
        }
        State::HeldUp => {
            // The first does not fit into one write.
            for len in [70_000, 10_000, 10_000] {
                scene.send(scene.client, &message(len, 0));
            }
            scene.run(SECOND / 2);
        }
        State::Closing => {
            scene.world.command(scene.client, Command::Close).unwrap();
            scene.run(SECOND / 2);
        }
        _ => {}
    }
    scene
}

fn cut(state: State, host: impl Fn(&Scene) -> CotpHost) -> Scene {
    let mut scene = reach(state);
    scene.world.note(scene.client, format!("{state:?}"));
    scene.world.reset(host(&scene), ());
    assert!(
        scene.world.run_until_idle(600 * SECOND),
        "{state:?}: it never rests"
    );
    scene
}

#[test]
fn a_reset_in_any_state_ends_both_sides_with_that_reason() {
    let reset = Some(EndReason::Link(Cause::Reset));
    for state in STATES {
        for is_client in [true, false] {
            let scene = cut(state, |scene| {
                if is_client {
                    scene.client
                } else {
                    scene.server
                }
            });

            let (client, server) = (scene.reason(scene.client), scene.reason(scene.server));
            // Who has said its last word is not interested in how the stream ends.
            let expected = if state == State::Closing {
                Some(EndReason::Closed)
            } else {
                reset.clone()
            };
            assert_eq!(client, expected, "{state:?}, {is_client}");
            assert_eq!(server, reset, "{state:?}, {is_client}");
            assert!(scene.world.is_done(scene.client), "{state:?}");
            assert!(scene.world.is_done(scene.server), "{state:?}");
            keep(scene, "reset", state, is_client);
        }
    }
}

/// What the client did is kept; the other side of each story only has to replay.
fn keep(scene: Scene, what: &str, state: State, is_client: bool) {
    if is_client {
        let state = format!("{state:?}").to_lowercase();
        scene.keep(&format!("{what}_{state}"));
    } else {
        scene.replays();
    }
}

#[test]
fn a_reset_counts_what_is_lost() {
    let amid = cut(State::Amid, |scene| scene.server);
    let held_up = cut(State::HeldUp, |scene| scene.client);

    assert!(amid.end(amid.server).unwrap().incomplete > 0);
    let unsent = held_up.end(held_up.client).unwrap().unsent;
    assert!((20_000..70_000).contains(&unsent), "{unsent}");
}

#[test]
fn resets_as_ladders() {
    for state in STATES {
        let scene = cut(state, |scene| scene.client);
        insta::assert_snapshot!(format!("reset_{state:?}"), scene.world.ladder());
    }
}

/// Ends one direction behind the back of the side that writes.
fn half_close(state: State, is_client: bool) -> Scene {
    let mut scene = reach(state);
    let host = if is_client {
        scene.client
    } else {
        scene.server
    };
    scene.world.half_close(host, ());
    scene.run(5 * SECOND);
    if state == State::Paused {
        // Until then it has not even read that the stream ended.
        scene.world.command(scene.client, Command::Resume).unwrap();
    }
    assert!(
        scene.world.run_until_idle(600 * SECOND),
        "{state:?}: it never rests"
    );
    scene
}

#[test]
fn a_half_close_in_any_state_gives_both_sides_an_end() {
    for state in STATES {
        for is_client in [true, false] {
            let scene = half_close(state, is_client);

            let told = if is_client {
                scene.server
            } else {
                scene.client
            };
            let end = scene.end(told).map(|end| end.to_string());
            assert!(end.is_some(), "{state:?}, {is_client}");
            assert!(scene.end(scene.client).is_some(), "{state:?}, {is_client}");
            assert!(scene.end(scene.server).is_some(), "{state:?}, {is_client}");
            keep(scene, "half_close", state, is_client);
        }
    }
}

#[test]
fn an_end_before_the_confirmation_has_its_own_reason() {
    let scene = half_close(State::Requesting, false);

    assert_eq!(
        scene.reason(scene.client),
        Some(EndReason::ClosedBeforeConfirm)
    );
}

#[test]
fn an_end_in_the_middle_of_a_message_is_no_clean_close() {
    let scene = half_close(State::Amid, true);
    let whole = half_close(State::Open, true);

    // What was on the line arrives, and the end behind it.
    assert!(scene.end(scene.server).is_some());
    assert_eq!(whole.end(whole.server).unwrap().incomplete, 0);
    assert_eq!(whole.reason(whole.server), Some(EndReason::PeerClosed));
}

#[test]
fn a_reset_before_the_answer_leaves_nothing_to_answer() {
    let mut scene = cut(State::Indicated, |scene| scene.client);

    let accept = Command::Accept(Acceptance::default());
    assert!(scene.world.command(scene.server, accept).is_err());
    assert!(
        scene
            .world
            .command(scene.client, Command::Flush(Tag(1)))
            .is_err()
    );
    let quiet: Duration = 600 * SECOND;
    assert!(scene.world.run_until_idle(scene.world.now() + quiet));
}
