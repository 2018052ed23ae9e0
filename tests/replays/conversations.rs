//! Conversations of other programs, given to recorded connections.

use farlink::Link;
use farlink::cotp::Connection;
use farlink::record::{Recorder, RecordingEnd, replay};

use crate::cotp_captures::{self, CONVERSATIONS, Conversation, Side, stream};
use crate::cotp_talk::Talk;
use crate::sink::Sink;

#[test]
fn captured_conversations_replay_at_both_ends() {
    for name in CONVERSATIONS {
        let conversation: Conversation = cotp_captures::read(name);
        for side in [Side::Client, Side::Server] {
            let sink = Sink::default();
            let mut talk = talk(&conversation, side, &sink);

            let records = conversation.records.iter();
            let theirs = records.filter(|record| record.from != side);
            for octets in theirs.filter_map(|record| record.octets.as_ref()) {
                talk.receive(&octets.to_vec());
            }
            talk.link(Link::Ended);

            let ours = stream(&conversation.records, side);
            assert!(talk.written == ours, "{name}, as the {side:?}");
            assert!(talk.pass_time(), "{name}: it ends");
            drop(talk);
            let outcome = replay::<Connection>(&sink.octets()).unwrap();
            assert!(outcome.matches(), "{name}, as the {side:?}: {outcome}");
            assert_eq!(outcome.end, RecordingEnd::Finished);
        }
    }
}

/// Returns a recorded connection in the place of one of the two programs.
fn talk(conversation: &Conversation, side: Side, sink: &Sink) -> Talk<Recorder<Connection>> {
    let greeting = conversation.messages_of(side).into_iter().map(Into::into);
    let machine = sink.recorder(conversation.config(side), 1);
    Talk::with(
        machine,
        |machine| machine.machine().memory_used(),
        greeting.collect(),
    )
}
