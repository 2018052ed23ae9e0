//! What COTP connections have only where methods block: limits of time, and many threads at one handle.

use std::io;
use std::thread;
use std::time::Duration;

use farlink::adapters::blocking::cotp::{Connection, ConnectionOptions, connect, listen};
use farlink::cotp::{Config, Policy};

use super::AT_LAST;
use super::cotp::client;
use super::loopback::here;

#[test]
fn receiving_can_be_given_up_and_taken_up_again() {
    let (near, mut far) = pair(client());

    let late = far.receive_timeout(Duration::from_millis(5)).unwrap_err();
    near.send("at last").unwrap();
    let message = far.receive_timeout(AT_LAST).unwrap();
    near.close().unwrap();

    assert_eq!(io::Error::from(late).kind(), io::ErrorKind::TimedOut);
    assert_eq!(message.unwrap(), "at last");
    assert_eq!(far.receive_timeout(AT_LAST).unwrap(), None);
}

#[test]
fn many_threads_flush_at_once() {
    let (near, mut far) = pair(client());
    let (sender, _receiver) = near.split();

    thread::scope(|scope| {
        for number in 0..8_u8 {
            let sender = sender.clone();
            scope.spawn(move || {
                for _ in 0..50 {
                    sender.send(vec![number; 5000]).unwrap();
                    sender.flush().unwrap();
                }
            });
        }
        for _ in 0..400 {
            assert_eq!(far.receive().unwrap().unwrap().len(), 5000);
        }
    });
}

#[test]
fn a_handle_blocks_whatever_runtime_drives_its_connection() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listener = listen(here(), Config::responder(Policy::AcceptAny)).unwrap();
    let address = listener.local_addr();
    let connecting = async { farlink::adapters::tokio::cotp::connect(address, client()).await };
    let near = Connection::from(runtime.block_on(connecting).unwrap());
    let mut far = listener.accept().unwrap();

    near.send("hello").unwrap();

    assert_eq!(far.receive().unwrap().unwrap(), "hello");
    drop(far);
    near.close().unwrap();
}

#[test]
fn a_peer_gives_up_by_its_own_limit_while_a_listener_has_no_room() {
    let mut options = ConnectionOptions::from(Config::responder(Policy::AcceptAny));
    options.arrivals = 2;
    let listener = listen(here(), options).unwrap();
    let address = listener.local_addr();
    let _near = [
        connect(address, client()).unwrap(),
        connect(address, client()).unwrap(),
    ];
    let mut impatient = client();
    impatient.timers.answer_timeout = Some(Duration::from_millis(100));

    let error = connect(address, impatient).unwrap_err();
    let third = thread::spawn(move || connect(address, client()));
    listener.accept().unwrap();
    // One of the two that follow is what is left of the impatient one.
    listener.accept().unwrap();

    assert!(error.to_string().contains("no answer"), "{error}");
    third.join().unwrap().unwrap();
}

fn pair(config: Config) -> (Connection, Connection) {
    let listener = listen(here(), Config::responder(Policy::AcceptAny)).unwrap();
    let near = connect(listener.local_addr(), config).unwrap();
    (near, listener.accept().unwrap())
}
