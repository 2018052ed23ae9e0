//! COTP on a bare `std` loop: one thread a connection, no adapter.
//!
//! The loop is a complete driver for byte streams. It keeps the contract of [`farlink::Machine`]: `Link::Up`
//! first, reading only while the machine wants octets, `Full` and `Free` around what the socket refuses, FIN and
//! close when the machine asks for them.
//!
//! `cargo run --features std,cotp --example cotp_std`

#![expect(
    clippy::std_instead_of_core,
    reason = "an example is read by people who write std"
)]

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use farlink::adapters::Clock;
use farlink::cotp::{Command, Config, Connection, Event, Policy, Selector};
use farlink::{Ask, Cause, Instant, Limits, Link, Machine as _, Output, Seed, Transmit};

/// The longest time that one read or write may block, so that neither direction starves the other.
const TURN: Duration = Duration::from_millis(5);

/// What the loop owns beside the machine.
struct Driver {
    machine: Connection,
    stream: TcpStream,
    clock: Clock,
    tx: Transmit<()>,
    /// Octets that the socket has not taken yet.
    outbox: Vec<u8>,
    /// What to do with the stream once the outbox is empty.
    end: Option<End>,
    is_read_closed: bool,
}

#[derive(Clone, Copy)]
enum End {
    Finish,
    Close,
}

impl Driver {
    fn new(machine: Connection, stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TURN))?;
        stream.set_write_timeout(Some(TURN))?;
        let clock = Clock::new();
        let mut driver = Self {
            machine,
            stream,
            clock,
            tx: Transmit::new(Limits::stream(1 << 16)),
            outbox: Vec::new(),
            end: None,
            is_read_closed: false,
        };
        driver.machine.link(clock.now(), (), Link::Up);
        Ok(driver)
    }

    /// Drives the connection until it is over. `handle` may answer an event with a command.
    fn run(mut self, mut handle: impl FnMut(Event) -> Option<Command>) -> io::Result<()> {
        loop {
            let Some(deadline) = self.drain(&mut handle) else {
                // Done: what was written leaves, then the stream is closed.
                while !self.flush()? {}
                return Ok(());
            };
            self.flush()?;
            self.read(deadline)?;
        }
    }

    /// Polls the machine until it waits for something. `None` when it is done.
    fn drain(&mut self, handle: &mut impl FnMut(Event) -> Option<Command>) -> Option<Instant> {
        let soon = self.clock.now() + TURN;
        loop {
            let now = self.clock.now();
            match self.machine.poll(now, &mut self.tx) {
                // Nothing is written between `Full` and `Free`, so the outbox holds one send at most.
                Output::Transmit => {
                    self.outbox.extend_from_slice(self.tx.octets());
                    self.machine.link(now, (), Link::Full);
                }
                Output::Event(event) => {
                    if let Some(command) = handle(event)
                        && let Err(refusal) = self.machine.command(now, command)
                    {
                        println!("refused: {refusal}");
                    }
                }
                Output::Ask(Ask::Finish(())) => self.end = Some(End::Finish),
                Output::Ask(Ask::Close(()) | Ask::Abort(())) => self.end = Some(End::Close),
                // Only `Command::Detach` leads to the others.
                Output::Ask(_) => {}
                Output::Yield => return Some(now),
                Output::Idle(deadline) => return Some(deadline.unwrap_or(soon)),
                Output::Done => return None,
            }
        }
    }

    /// Writes what waits, and returns whether all of it has left.
    fn flush(&mut self) -> io::Result<bool> {
        if !self.outbox.is_empty() {
            match self.stream.write(&self.outbox) {
                Ok(count) => drop(self.outbox.drain(..count)),
                Err(error) if is_pause(&error) => {}
                Err(error) => return Err(error),
            }
            if !self.outbox.is_empty() {
                return Ok(false);
            }
            self.machine.link(self.clock.now(), (), Link::Free);
        }
        match self.end.take() {
            Some(End::Finish) => drop(self.stream.shutdown(Shutdown::Write)),
            // The peer may have closed before.
            Some(End::Close) => drop(self.stream.shutdown(Shutdown::Both)),
            None => {}
        }
        Ok(true)
    }

    /// Reads once, for as long as the machine can wait, if it wants octets.
    fn read(&mut self, deadline: Instant) -> io::Result<()> {
        let wait = self.clock.wait(deadline).min(TURN);
        if self.is_read_closed || !self.machine.wants(()) {
            thread::park_timeout(wait);
            return Ok(());
        }
        // A time limit of zero would mean none.
        self.stream.set_read_timeout(Some(wait.max(Clock::GRAIN)))?;
        let mut octets = [0; 1 << 14];
        let outcome = self.stream.read(&mut octets);
        let now = self.clock.now();
        match outcome {
            Ok(0) => {
                self.is_read_closed = true;
                self.machine.link(now, (), Link::Ended);
            }
            Ok(count) => {
                let chunk = octets.get(..count).unwrap_or_default();
                self.machine.receive(now, (), chunk);
            }
            Err(error) if is_pause(&error) => {}
            Err(_) => {
                self.is_read_closed = true;
                self.machine.link(now, (), Link::Down(Cause::Reset));
            }
        }
        Ok(())
    }
}

fn is_pause(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let selector = Selector::from(0x0102);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;

    let policy = Policy::Selectors(vec![selector.clone()]);
    let server = Connection::new(Config::responder(policy), &Seed::from(2))?;
    let serving = thread::spawn(move || {
        let (stream, _) = listener.accept()?;
        // Whatever comes goes back.
        Driver::new(server, stream)?.run(|event| match event {
            Event::Received(message) => Some(Command::Send(message)),
            _ => None,
        })
    });

    let config = Config::initiator(None, Some(selector));
    let client = Connection::new(config, &Seed::from(1))?;
    Driver::new(client, TcpStream::connect(address)?)?.run(|event| match event {
        Event::Connected(_) => Some(Command::Send("hello".into())),
        Event::Received(message) => {
            println!("echo: {:?}", String::from_utf8_lossy(&message));
            Some(Command::Close)
        }
        event => {
            println!("{event:?}");
            None
        }
    })?;
    serving.join().map_err(|_| "the server failed")??;
    Ok(())
}
