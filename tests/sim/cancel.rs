//! [`Ask::Cancel`] ends what an open began, answered or not.

use bytes::Bytes;
use farlink::sim::{Line, Queue};
use farlink::{Ask, Cause, Link, Path, Proto, Tag};

use crate::path_hosts::{
    MILLI, SECOND, addr, ask, at, joined, last_link, losses, open, pair, push,
};
use crate::scripted_machine::{Action, links};

#[test]
fn a_cancelled_open_is_not_answered_and_its_port_is_free() {
    let (mut world, one, _) = pair(1);
    let socket = Path::socket(Proto::Udp, addr("192.0.2.1:500"));
    let nowhere = Path::tcp(addr("192.0.2.1:600"), addr("192.0.2.77:80"));

    open(&mut world, one, 1, socket);
    ask(&mut world, one, Ask::Cancel(Tag(1)));
    open(&mut world, one, 2, nowhere);
    ask(&mut world, one, Ask::Cancel(Tag(2)));
    open(&mut world, one, 3, socket);
    world.run_until_idle(1000 * SECOND);

    let answers: Vec<Link> = links(&world, one)
        .iter()
        .map(|(_, _, link)| *link)
        .collect();
    assert_eq!(answers, [Link::Opened(Tag(3))]);
}

#[test]
fn a_udp_socket_that_was_opened_can_be_cancelled() {
    let (mut world, one, two) = pair(1);
    let socket = Path::socket(Proto::Udp, addr("192.0.2.1:500"));
    let there = Path::udp(addr("192.0.2.1:500"), addr("192.0.2.2:53"));
    world.bind(two, Proto::Udp, addr("192.0.2.2:53"));
    world.command(two, Action::Echo).unwrap();

    open(&mut world, one, 1, socket);
    world.run_until(SECOND);
    push(&mut world, one, there, b"asked");
    world.run_until(2 * SECOND);
    ask(&mut world, one, Ask::Cancel(Tag(1)));
    open(&mut world, one, 2, socket);
    world.run_until_idle(100 * SECOND);

    assert_eq!(losses(&world), []);
    let answers: Vec<Link> = links(&world, one).iter().map(|cues| cues.2).collect();
    assert_eq!(answers, [Link::Opened(Tag(1)), Link::Opened(Tag(2))]);
    assert_eq!(
        joined(&world, one),
        b"asked",
        "by the socket that was opened again"
    );
}

#[test]
fn what_waits_in_a_cancelled_udp_socket_is_lost() {
    let (mut world, one, two) = pair(1);
    world.bind(two, Proto::Udp, addr("192.0.2.2:53"));
    open(
        &mut world,
        one,
        1,
        Path::socket(Proto::Udp, addr("192.0.2.1:500")),
    );
    world.run_until(SECOND);

    world.stop_reading(one);
    let back = Path::udp(addr("192.0.2.2:53"), addr("192.0.2.1:500"));
    push(&mut world, two, back, b"unread");
    world.run_until(3 * SECOND);
    ask(&mut world, one, Ask::Cancel(Tag(1)));
    world.resume_reading(one);
    world.run_until_idle(100 * SECOND);

    assert_eq!(joined(&world, one), b"");
}

#[test]
fn a_cancelled_udp_socket_gets_no_free_cue() {
    let (mut world, one, two) = pair(1);
    let slow = Line {
        rate: Some(8000),
        queue: Queue::Signal(100),
        ..Line::delayed(SECOND)
    };
    world.line_from(one, two, slow);
    let socket = Path::socket(Proto::Udp, addr("192.0.2.1:500"));
    open(&mut world, one, 1, socket);
    world.run_until(SECOND);

    for port in [53, 54] {
        let there = Path::udp(
            addr("192.0.2.1:500"),
            (addr("192.0.2.2:0").ip(), port).into(),
        );
        push(&mut world, one, there, &[7; 100]);
    }
    world.run_until(SECOND + 10 * MILLI);
    assert_eq!(last_link(&world, one), (at(SECOND), socket, Link::Full));
    assert_eq!(
        world.trace().packets().len(),
        1,
        "the socket carries both ways"
    );
    ask(&mut world, one, Ask::Cancel(Tag(1)));
    world.run_until_idle(100 * SECOND);

    assert_eq!(last_link(&world, one).2, Link::Full);
}

#[test]
fn a_connection_that_was_opened_can_be_cancelled() {
    let (mut world, one, two) = pair(1);
    world.bind(two, Proto::Tcp, addr("192.0.2.2:80"));
    let path = Path::tcp(addr("192.0.2.1:600"), addr("192.0.2.2:80"));
    open(&mut world, one, 1, path);
    world.run_until(10 * SECOND);
    let cues = links(&world, one).len();

    ask(&mut world, one, Ask::Cancel(Tag(1)));
    assert!(world.run_until_idle(1000 * SECOND));

    assert_eq!(links(&world, one).len(), cues, "no cue follows");
    assert_eq!(joined(&world, two), b"");
    assert_eq!(last_link(&world, two).2, Link::Down(Cause::Reset));
}

#[test]
fn a_connection_that_is_cancelled_in_its_handshake_is_not_answered() {
    let (mut world, one, two) = pair(1);
    world.bind(two, Proto::Tcp, addr("192.0.2.2:80"));
    let path = Path::tcp(addr("192.0.2.1:600"), addr("192.0.2.2:80"));
    open(&mut world, one, 1, path);
    // The SYN has arrived, its answer is in flight.
    world.run_until(SECOND + 500 * MILLI);

    ask(&mut world, one, Ask::Cancel(Tag(1)));
    assert!(world.run_until_idle(1000 * SECOND));

    assert_eq!(links(&world, one), []);
    let up = links(&world, two)
        .iter()
        .filter(|cues| cues.2 == Link::Up)
        .count();
    assert_eq!(up, 1, "the listener alone");
}

#[test]
fn a_listener_can_be_cancelled_before_and_after_its_open_is_answered() {
    for is_told in [false, true] {
        let (mut world, one, two) = pair(1);
        let listener = Path::socket(Proto::Tcp, addr("192.0.2.2:80"));
        open(&mut world, two, 1, listener);
        if is_told {
            world.run_until(SECOND);
        }
        let cues = links(&world, two).len();
        assert_eq!(cues, usize::from(is_told));

        ask(&mut world, two, Ask::Cancel(Tag(1)));
        open(
            &mut world,
            one,
            2,
            Path::tcp(addr("192.0.2.1:600"), addr("192.0.2.2:80")),
        );
        assert!(world.run_until_idle(1000 * SECOND));

        assert_eq!(links(&world, two).len(), cues);
        let answer = Link::Failed(Tag(2), Cause::Refused);
        assert_eq!(last_link(&world, one).2, answer);
    }
}

#[test]
fn a_cancelled_listener_refuses_whom_it_has_not_accepted() {
    let (mut world, one, two) = pair(1);
    open(
        &mut world,
        two,
        1,
        Path::socket(Proto::Tcp, addr("192.0.2.2:80")),
    );
    open(
        &mut world,
        one,
        2,
        Path::tcp(addr("192.0.2.1:600"), addr("192.0.2.2:80")),
    );
    // Its SYN has arrived, and the handshake is not over.
    world.run_until(SECOND + 500 * MILLI);

    ask(&mut world, two, Ask::Cancel(Tag(1)));
    assert!(world.run_until_idle(1000 * SECOND));

    assert_eq!(links(&world, two).len(), 1, "nobody was accepted");
    assert!(matches!(
        last_link(&world, one).2,
        Link::Failed(Tag(2), _) | Link::Down(_)
    ));
}

#[test]
fn a_stream_that_was_detached_outlives_the_cancel_of_its_tag() {
    let (mut world, one, two) = pair(1);
    world.bind(two, Proto::Tcp, addr("192.0.2.2:80"));
    let path = Path::tcp(addr("192.0.2.1:600"), addr("192.0.2.2:80"));
    open(&mut world, one, 1, path);
    world.run_until(10 * SECOND);

    let (tag, early) = (Tag(9), Bytes::new());
    ask(&mut world, one, Ask::Detach { tag, path, early });
    ask(&mut world, one, Ask::Cancel(Tag(1)));
    world.write(one, tag, b"from the application");
    world.run_until(20 * SECOND);

    assert_eq!(joined(&world, two), b"from the application");
}
