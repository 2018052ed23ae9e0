//! Two LTP engines in one `mio` loop: a file-sized block from engine 1 to engine 2 over loopback UDP.
//!
//! The loop is a complete driver for datagrams. It keeps the contract of [`farlink::Machine`]: a batch is sent
//! datagram by datagram, the rest of a batch that the socket refuses is kept, `Full` and `Free` tell the
//! machine so, and the loop sleeps until the earliest deadline.
//!
//! `cargo run --features std,ltp --example ltp_mio`

#![expect(
    clippy::std_instead_of_core,
    reason = "an example is read by people who write std"
)]

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::time::Duration;

use farlink::adapters::Clock;
use farlink::ltp::{Block, Config, Engine, Event, Flow, Peer, Service};
use farlink::{Instant, Limits, Link, Machine as _, Output, Path, Proto, Seed, Tag, Transmit};
use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token};

/// Datagrams read in one go, so that a flood of them cannot keep the loop from its timers.
const READS: usize = 64;

/// An engine, its socket, and what the socket did not take yet.
struct Node {
    engine: Engine<Path>,
    socket: UdpSocket,
    local: SocketAddr,
    tx: Transmit<Path>,
    /// A batch of which only so many datagrams have left.
    rest: Option<(Transmit<Path>, usize)>,
    is_readable: bool,
}

impl Node {
    fn bind(id: u64, seed: u64) -> Result<Self, Box<dyn std::error::Error>> {
        let socket = UdpSocket::bind("127.0.0.1:0".parse()?)?;
        Ok(Self {
            engine: Engine::new(Config::engine(id), Seed::from(seed))?,
            local: socket.local_addr()?,
            socket,
            tx: Transmit::new(Limits::default()),
            rest: None,
            is_readable: false,
        })
    }

    /// Polls the machine until it waits for something, and returns its deadline.
    fn drain(&mut self, now: Instant, events: &mut Vec<Event>) -> Option<Instant> {
        loop {
            match self.engine.poll(now, &mut self.tx) {
                Output::Transmit => self.send(now),
                Output::Event(event) => events.push(event),
                // An engine asks for no sockets.
                Output::Ask(_) => {}
                // Work is left: the caller looks at the sockets without waiting, then drains again.
                Output::Yield => return Some(now),
                Output::Idle(deadline) => return deadline,
                // An engine is never done. Another machine would end here.
                Output::Done => return None,
            }
        }
    }

    /// Sends the batch in `tx`. What the socket refuses is kept, and the machine hears `Full`.
    fn send(&mut self, now: Instant) {
        let sent = send_from(&self.socket, &self.tx, 0);
        if sent < self.tx.datagrams().len() {
            let limits = self.tx.limits();
            let batch = mem::replace(&mut self.tx, Transmit::new(limits));
            self.rest = Some((batch, sent));
            self.engine.link(now, self.carrier(), Link::Full);
        }
    }

    /// The socket takes octets again: sends what was kept, then tells the machine.
    fn on_writable(&mut self, now: Instant) {
        let Some((batch, sent)) = &mut self.rest else {
            return;
        };
        *sent = send_from(&self.socket, batch, *sent);
        if *sent == batch.datagrams().len() {
            self.rest = None;
            self.engine.link(now, self.carrier(), Link::Free);
        }
    }

    /// Gives the machine what has come, but no more than [`READS`] datagrams.
    fn read(&mut self, now: Instant) -> io::Result<()> {
        let mut octets = vec![0; 1 << 16];
        for _ in 0..READS {
            match self.socket.recv_from(&mut octets) {
                Ok((len, remote)) => {
                    let from = Path::udp(self.local, remote);
                    let datagram = octets.get(..len).unwrap_or_default();
                    self.engine.receive(now, from, datagram);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.is_readable = false;
                    return Ok(());
                }
                // What an ICMP message reported. Anybody can forge one, so it ends nothing.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// What all paths from this socket share.
    fn carrier(&self) -> Path {
        Path::socket(Proto::Udp, self.local)
    }
}

/// Sends the datagrams of a batch from number `sent` on, and returns how many have left in all.
fn send_from(socket: &UdpSocket, batch: &Transmit<Path>, sent: usize) -> usize {
    let Some(to) = batch.to() else {
        return sent;
    };
    let mut count = sent;
    for datagram in batch.datagrams().skip(sent) {
        match socket.send_to(datagram, to.remote) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            // Any other error costs this datagram: the protocol repeats what is lost.
            Ok(_) | Err(_) => count += 1,
        }
    }
    count
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let clock = Clock::new();
    let mut nodes = [Node::bind(1, 1)?, Node::bind(2, 2)?];
    let mut poll = Poll::new()?;
    for (number, node) in nodes.iter_mut().enumerate() {
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registry = poll.registry();
        registry.register(&mut node.socket, Token(number), interest)?;
    }

    let [earth, mars] = &mut nodes;
    let now = clock.now();
    let (there, back) = (
        Path::udp(earth.local, mars.local),
        Path::udp(mars.local, earth.local),
    );
    // No more than this is under way, or a burst overruns the buffer of the socket at the other end.
    let peer = Peer::at(there).with_flow(Flow::window(1 << 16));
    earth.engine.add_peer(now, 2, peer)?;
    mars.engine.add_peer(now, 1, Peer::at(back))?;
    mars.engine.open(now, 4, Service::Whole)?;
    let block = vec![7; 1_000_000];
    let block = Block::red(Tag(1), 2, 4, block.into());
    earth.engine.send_block(now, block)?;

    let mut ready = Events::with_capacity(16);
    loop {
        let now = clock.now();
        let mut events = Vec::new();
        let mut wake: Option<Instant> = None;
        for node in &mut nodes {
            if node.is_readable {
                node.read(now)?;
            }
            let deadline = node.drain(now, &mut events);
            let unread = node.is_readable.then_some(now);
            wake = wake.into_iter().chain(deadline).chain(unread).min();
        }
        for event in events {
            match event {
                Event::Received { data, .. } => println!("received {} octets", data.len()),
                Event::Complete { .. } => {
                    println!("complete");
                    return Ok(());
                }
                Event::Failed { reason, .. } => return Err(reason.to_string().into()),
                _ => {}
            }
        }

        // Rounded up to a millisecond: a timer that fires early would find nothing due and spin.
        let wait = wake.map(|deadline| clock.wait(deadline));
        poll.poll(
            &mut ready,
            wait.map(|wait| wait.min(Duration::from_secs(60))),
        )?;
        let now = clock.now();
        for event in &ready {
            if let Some(node) = nodes.get_mut(event.token().0) {
                node.is_readable |= event.is_readable();
                if event.is_writable() {
                    node.on_writable(now);
                }
            }
        }
    }
}
