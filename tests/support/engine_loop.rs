//! One LTP engine on one [`Socket`], in a loop of its own.

use std::net::{SocketAddr, UdpSocket};

use farlink::adapters::Clock;
use farlink::adapters::udp::{RecvBuffers, Socket, UdpOptions};
use farlink::ltp::{Command, Config, Engine, Event};
use farlink::{Instant, Limits, Link, Machine as _, Output, Path, Proto, Seed, Transmit};

/// Sends and datagrams of one turn.
const SHARE: usize = 64;

pub(crate) struct EngineLoop {
    engine: Engine<Path>,
    socket: Socket,
    clock: Clock,
    tx: Transmit<Path>,
    /// How many datagrams of `tx` have left, while the socket is full.
    held: Option<usize>,
    buffers: RecvBuffers,
}

impl EngineLoop {
    pub(crate) fn new(id: u64, limits: Limits, options: &UdpOptions) -> Self {
        let mut engine = Engine::new(Config::engine(id), Seed::from(id)).unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let socket = Socket::new(socket, options).unwrap();
        let clock = Clock::new();
        let itself = Path::socket(Proto::Udp, socket.local_addr());
        engine.link(clock.now(), itself, Link::Up);
        Self {
            engine,
            socket,
            clock,
            tx: Transmit::new(limits),
            held: None,
            buffers: RecvBuffers::default(),
        }
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.socket.local_addr()
    }

    pub(crate) fn receive_buffer(&self) -> usize {
        self.socket.buffer_sizes().receive
    }

    pub(crate) fn engine(&self) -> &Engine<Path> {
        &self.engine
    }

    pub(crate) fn command(&mut self, command: Command<Path>) {
        self.engine.command(self.clock.now(), command).unwrap();
    }

    /// Sends and receives what there is, up to the first event.
    pub(crate) fn turn(&mut self) -> Option<Event> {
        let now = self.clock.now();
        let event = self.drain(now);
        if event.is_none() {
            self.read(now);
        }
        event
    }

    fn drain(&mut self, now: Instant) -> Option<Event> {
        for _ in 0..SHARE {
            // A full socket holds the machine up, and nothing is held but this.
            if let Some(sent) = &mut self.held {
                if !self.socket.send(&self.tx, sent) {
                    return None;
                }
                self.held = None;
            }
            match self.engine.poll(now, &mut self.tx) {
                Output::Transmit => self.held = Some(0),
                Output::Event(event) => return Some(event),
                Output::Ask(_) => {}
                Output::Yield | Output::Idle(_) | Output::Done => return None,
            }
        }
        None
    }

    fn read(&mut self, now: Instant) {
        let mut count = 0;
        while count < SHARE {
            let engine = &mut self.engine;
            let each = |from, octets: &[u8], size| engine.receive_batch(now, from, octets, size);
            match self.socket.receive_batch(&mut self.buffers, each) {
                Ok(received) => count += received.max(1),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(error) => panic!("{error}"),
            }
        }
    }
}
