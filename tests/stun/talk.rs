//! A client, its driver and its servers, in simulated time.

use core::net::SocketAddr;
use core::time::Duration;

use farlink::stun::{
    Attribute, AttributeType, Class, Client, Command, Config, ErrorCode, Event, Message,
    MessageWriter, Method, Query, QueryFailure, Silence, TransactionId,
};
use farlink::{Ask, Instant, Limits, Link, Machine as _, Output, Path, Proto, Seed, Tag, Transmit};

pub(crate) const TAG: Tag = Tag(7);

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub(crate) fn server() -> SocketAddr {
    addr("192.0.2.1:3478")
}

/// The address of the first socket that is opened.
pub(crate) fn local() -> SocketAddr {
    addr("10.0.0.1:50000")
}

/// A request that the client has sent.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) at: Duration,
    pub(crate) path: Path,
    pub(crate) octets: Vec<u8>,
}

impl Sent {
    pub(crate) fn message(&self) -> Message<'_> {
        Message::decode(&self.octets).unwrap()
    }

    pub(crate) fn id(&self) -> TransactionId {
        self.message().id()
    }

    pub(crate) fn find(&self, kind: AttributeType) -> Option<Attribute<'_>> {
        self.message().find(kind).map(|raw| raw.decode().unwrap())
    }
}

pub(crate) struct Talk {
    pub(crate) client: Client,
    pub(crate) now: Instant,
    tx: Transmit<Path>,
    pub(crate) sent: Vec<Sent>,
    pub(crate) events: Vec<Event>,
    pub(crate) asks: Vec<Ask<Path>>,
    pub(crate) is_done: bool,
    opened: u16,
    /// Whether connections are made at once, as sockets are.
    pub(crate) connects: bool,
}

impl Talk {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            client: Client::new(config, &Seed::from(1)).unwrap(),
            now: Instant::ZERO,
            tx: Transmit::new(Limits::default()),
            sent: Vec::new(),
            events: Vec::new(),
            asks: Vec::new(),
            is_done: false,
            opened: 0,
            connects: true,
        }
    }

    pub(crate) fn drain(&mut self) {
        loop {
            match self.client.poll(self.now, &mut self.tx) {
                Output::Transmit => {
                    let path = self.tx.to().unwrap();
                    let at = self.now - Instant::ZERO;
                    let octets: Vec<&[u8]> = if self.tx.is_stream() {
                        vec![self.tx.octets()]
                    } else {
                        self.tx.datagrams().collect()
                    };
                    self.sent.extend(octets.iter().map(|octets| Sent {
                        at,
                        path,
                        octets: octets.to_vec(),
                    }));
                }
                Output::Event(event) => self.events.push(event),
                Output::Ask(ask) => {
                    self.asks.push(ask.clone());
                    if let Ask::Open { tag, path } = ask
                        && (path.proto == Proto::Udp || self.connects)
                    {
                        self.open(tag, path);
                    }
                }
                Output::Yield => {}
                Output::Idle(_) => return,
                Output::Done => {
                    self.is_done = true;
                    return;
                }
            }
        }
    }

    fn open(&mut self, tag: Tag, mut path: Path) {
        if path.local.port() == 0 {
            path.local.set_port(50_000 + self.opened);
        }
        self.opened += 1;
        self.client.link(self.now, path, Link::Opened(tag));
    }

    /// Lets time pass, and acts at each deadline.
    pub(crate) fn wait(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            self.drain();
            if self.is_done {
                return;
            }
            match self.client.poll(self.now, &mut self.tx) {
                Output::Idle(Some(at)) if at <= end => self.now = at,
                Output::Idle(_) => break,
                other => panic!("{other:?} after a drain"),
            }
        }
        self.now = end;
        self.drain();
    }

    pub(crate) fn udp(&self) -> Path {
        Path::udp(addr("10.0.0.1:0"), server())
    }

    pub(crate) fn tcp(&self) -> Path {
        Path::tcp(addr("10.0.0.1:0"), server())
    }

    pub(crate) fn query(&mut self, tag: u64, to: Path, query: Query) {
        let tag = Tag(tag);
        let command = Command::Query { tag, to, query };
        self.client.command(self.now, command).unwrap();
        self.drain();
    }

    /// Begins a query over UDP without anything else.
    pub(crate) fn ask(&mut self) {
        self.query(TAG.0, self.udp(), Query::default());
    }

    pub(crate) fn last(&self) -> Sent {
        self.sent.last().unwrap().clone()
    }

    pub(crate) fn receive(&mut self, from: Path, octets: &[u8]) {
        self.client.receive(self.now, from, octets);
        self.drain();
    }

    /// The server of the last request answers.
    pub(crate) fn answer(&mut self, class: Class, attributes: &[Attribute<'_>]) {
        let Sent { path, octets, .. } = self.last();
        let id = Message::decode(&octets).unwrap().id();
        self.receive(path, &message(id, class, attributes));
    }

    /// The same with an error.
    pub(crate) fn refuse(&mut self, code: u16, attributes: &[Attribute<'_>]) {
        let reason = b"because";
        let code = Attribute::ErrorCode(ErrorCode { code, reason });
        self.answer(Class::Error, &[&[code], attributes].concat());
    }

    pub(crate) fn times(&self) -> Vec<u64> {
        let times = self.sent.iter().map(|sent| sent.at.as_millis());
        times.map(|at| u64::try_from(at).unwrap()).collect()
    }

    /// Returns why the one query that ended has failed.
    pub(crate) fn failure(&self) -> &QueryFailure {
        let [Event::Failed { failure, .. }] = &self.events[..] else {
            panic!("{:?}", self.events);
        };
        failure
    }

    pub(crate) fn silence(&self) -> Silence {
        let QueryFailure::Silent(silence) = self.failure() else {
            panic!("{:?}", self.events);
        };
        *silence
    }

    pub(crate) fn mapped(&self) -> SocketAddr {
        let [Event::Answered { answer, .. }] = &self.events[..] else {
            panic!("{:?}", self.events);
        };
        answer.mapped
    }
}

pub(crate) fn mapped() -> Attribute<'static> {
    Attribute::XorMappedAddress(addr("203.0.113.9:7"))
}

pub(crate) fn message(id: TransactionId, class: Class, attributes: &[Attribute<'_>]) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut writer = MessageWriter::new(&mut octets, Method::BINDING, class, id);
    for attribute in attributes {
        assert!(writer.attribute(attribute));
    }
    octets
}
