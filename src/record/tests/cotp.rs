//! COTP connections, recorded and replayed.

use alloc::vec::Vec;

use bytes::Bytes;

use super::toy::{Shared, at};
use crate::cotp::{
    Acceptance, Command, Config, Connection, ConnectionLimits, Event, Policy, Proposal, Refusal,
    Role, Selector,
};
use crate::record::{RecordOptions, Recorder, RecordingEnd, replay};
use crate::{Ask, Instant, Limits, Link, Machine as _, Output, Seed, Transmit};

type Recorded = Recorder<Connection>;

/// Two recorded connections and the octets between them.
struct Pair {
    ends: [Recorded; 2],
    files: [Shared; 2],
    now: u64,
    /// Octets of the largest chunk.
    chunk: usize,
    events: Vec<Event>,
}

impl Pair {
    fn new(initiator: Config, responder: Config, chunk: usize) -> Self {
        let files = [Shared::default(), Shared::default()];
        let end = |config, file: &Shared, seed: u64| {
            Recorder::new(
                config,
                Seed::from(seed),
                file.clone(),
                RecordOptions::default(),
            )
            .unwrap()
        };
        let mut pair = Self {
            ends: [end(initiator, &files[0], 1), end(responder, &files[1], 2)],
            files,
            now: 0,
            chunk,
            events: Vec::new(),
        };
        for end in &mut pair.ends {
            end.link(at(0), (), Link::Up);
        }
        pair.settle();
        pair
    }

    fn command(&mut self, end: usize, command: Command) {
        self.ends[end].command(self.time(), command).unwrap();
        self.settle();
    }

    fn time(&self) -> Instant {
        at(self.now * 1_000_000)
    }

    /// Exchanges octets until both ends are idle.
    fn settle(&mut self) {
        loop {
            let mut quiet = true;
            for end in [0, 1] {
                self.now += 1;
                quiet &= self.talk(end);
            }
            if quiet {
                return;
            }
        }
    }

    /// Passes the octets of one end to the other; returns true when there were none.
    fn talk(&mut self, from: usize) -> bool {
        let now = self.time();
        let mut tx = Transmit::new(Limits::stream(1000));
        let mut quiet = true;
        loop {
            match self.ends[from].poll(now, &mut tx) {
                Output::Transmit => {
                    for chunk in tx.octets().chunks(self.chunk) {
                        self.ends[1 - from].receive(now, (), chunk);
                    }
                }
                Output::Event(event) => self.events.push(event),
                Output::Ask(Ask::Close(()) | Ask::Finish(())) => {
                    self.ends[1 - from].link(now, (), Link::Ended);
                }
                Output::Ask(_) | Output::Yield => {}
                Output::Idle(_) | Output::Done => return quiet,
            }
            quiet = false;
        }
    }

    /// Ends the recordings and replays both.
    fn replay(self) {
        drop(self.ends);
        for file in &self.files {
            let outcome = replay::<Connection>(&file.octets()).unwrap();
            assert!(outcome.matches(), "{outcome}");
            assert_eq!(outcome.end, RecordingEnd::Finished);
        }
    }
}

/// A configuration in which most settings differ from the defaults.
fn unusual() -> Config {
    let mut config = Config::initiator(
        Some(Selector::from(&b"here"[..])),
        Some(Selector::from(0x0102)),
    );
    config.tpdu_size = crate::cotp::TpduSize::SMALLEST;
    config.compat.expedited = true;
    config.compat.send_disconnect = crate::cotp::SendDisconnect::all();
    config.compat.strict = crate::cotp::Strict::all();
    config.timers.idle_timeout = Some(core::time::Duration::from_millis(1_500));
    config
}

#[test]
fn whole_sessions_replay_at_both_ends() {
    for chunk in [1, 7, 1000] {
        let mut pair = Pair::new(unusual(), Config::responder(Policy::Ask), chunk);
        let user_data = Bytes::from_static(b"welcome");
        let acceptance = Acceptance {
            user_data,
            ..Acceptance::default()
        };
        pair.command(1, Command::Accept(acceptance));
        pair.command(0, Command::Send(Bytes::from(alloc::vec![0xa5; 9000])));
        pair.command(1, Command::Send(Bytes::from_static(b"answer")));
        pair.command(0, Command::Flush(crate::Tag(3)));
        pair.command(1, Command::Close);

        let received = |event: &&Event| matches!(event, Event::Received(_));
        assert_eq!(pair.events.iter().filter(received).count(), 2);
        let closed = |event: &&Event| matches!(event, Event::Closed(_));
        assert_eq!(pair.events.iter().filter(closed).count(), 2);
        pair.replay();
    }
}

#[test]
fn a_refused_session_replays_at_both_ends() {
    let mut pair = Pair::new(unusual(), Config::responder(Policy::Ask), 3);
    let information = Bytes::from_static(b"not today");
    let reason = crate::cotp::DisconnectReason(1);
    pair.command(
        1,
        Command::Refuse(Refusal {
            reason,
            information,
        }),
    );

    let failed = |event: &&Event| matches!(event, Event::Failed(_));
    assert_eq!(pair.events.iter().filter(failed).count(), 2);
    pair.replay();
}

#[test]
fn a_broken_session_replays() {
    let mut pair = Pair::new(Config::default(), Config::responder(Policy::AcceptAny), 100);
    let now = pair.time();
    pair.ends[0].receive(now, (), b"GET / HTTP/1.1\r\n");
    pair.settle();

    assert!(matches!(pair.events.last(), Some(Event::Closed(_))));
    pair.replay();
}

#[test]
fn a_configuration_reads_back_as_written() {
    let config = unusual();

    let text = serde_json::to_string(&config).unwrap();

    assert!(text.contains(r#""calling":"hex:68657265""#), "{text}");
    assert!(text.contains(r#""tpdu_size":128"#), "{text}");
    assert_eq!(serde_json::from_str::<Config>(&text).unwrap(), config);
}

#[test]
fn a_variable_part_of_ones_own_reads_back_as_written() {
    for variable in [
        None,
        Some(Bytes::new()),
        Some(Bytes::from_static(b"Cookie: x")),
    ] {
        let config = Config {
            role: Role::Initiator(Proposal {
                variable,
                ..Proposal::default()
            }),
            ..Config::default()
        };

        let text = serde_json::to_string(&config).unwrap();

        assert_eq!(serde_json::from_str::<Config>(&text).unwrap(), config);
    }
}

#[test]
fn settings_that_an_older_recording_lacks_take_their_defaults() {
    let config: Config = serde_json::from_str(r#"{"message_limit":7}"#).unwrap();

    let expected = Config {
        limits: ConnectionLimits {
            message_limit: 7,
            ..ConnectionLimits::default()
        },
        ..Config::default()
    };
    assert_eq!(config, expected);
    serde_json::from_str::<Config>(r#"{"tpdu_size":129}"#).unwrap_err();
}
