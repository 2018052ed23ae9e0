//! Two COTP connections on a stream line.

use core::time::Duration;

use bytes::Bytes;
use farlink::cotp::{
    Command, Config, Connection, ConnectionEnd, EndReason, Event, Policy, Selector, Tpdu,
};
use farlink::record::{Flush, RecordOptions, Recorder};
use farlink::sim::{Host, StreamLine, World};

use crate::kept;
use crate::sink::Sink;

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// One end of a connection, recorded.
pub(crate) type Party = Host<Recorder<Connection>>;

/// An initiator and a responder.
pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) client: Party,
    pub(crate) server: Party,
    /// The recordings of the two.
    files: [Sink; 2],
}

impl Scene {
    /// Joins the two; the initiator's CR sets off at once.
    pub(crate) fn new(seed: u64, client: Config, server: Config, line: StreamLine) -> Self {
        let mut world = World::new(seed);
        let files = [Sink::default(), Sink::default()];
        let [client, server] = [("client", client, &files[0]), ("server", server, &files[1])].map(
            |(name, config, file)| {
                let options = RecordOptions {
                    flush: Flush::Gathered(1 << 16),
                    ..RecordOptions::default()
                };
                let seed = world.seed(name);
                let machine = Recorder::new(config, seed, file.clone(), options).unwrap();
                let host = world.host((), machine);
                world.name(host, name);
                host
            },
        );
        for host in [client, server] {
            let mut labels = Labels::default();
            world.label_host(host, move |octets| Some(labels.label(octets)));
            world.label_events(host, name);
        }
        world.connect(client, server, line);
        Self {
            world,
            client,
            server,
            files,
        }
    }

    /// Everybody is accepted, nothing is out of the ordinary.
    pub(crate) fn plain(seed: u64, line: StreamLine) -> Self {
        Self::new(seed, client(), Config::responder(Policy::AcceptAny), line)
    }

    pub(crate) fn send(&mut self, host: Party, message: &Bytes) {
        let send = Command::Send(message.clone());
        self.world.command(host, send).unwrap();
    }

    pub(crate) fn run(&mut self, span: Duration) {
        self.world.run_for(span);
    }

    pub(crate) fn received(&self, host: Party) -> Vec<Bytes> {
        let events = self.world.events(host);
        events
            .filter_map(|(_, event)| match event {
                Event::Received(message) => Some(message.clone()),
                _ => None,
            })
            .collect()
    }

    pub(crate) fn end(&self, host: Party) -> Option<ConnectionEnd> {
        let mut events = self.world.events(host);
        events.find_map(|(_, event)| match event {
            Event::Failed(end) | Event::Closed(end) => Some((**end).clone()),
            _ => None,
        })
    }

    pub(crate) fn reason(&self, host: Party) -> Option<EndReason> {
        self.end(host).map(|end| end.reason)
    }

    /// Stops recording, for stories of which there are many.
    pub(crate) fn forget(&mut self) {
        for host in [self.client, self.server] {
            self.world.with(host, |machine, _| machine.finish());
        }
    }

    /// Ends the story: what was recorded of both ends replays.
    pub(crate) fn replays(self) {
        self.end_recordings()
            .iter()
            .for_each(|file| kept::replays(file));
    }

    /// Ends the story: what was recorded of both ends replays, and is kept under this name.
    pub(crate) fn keep(self, name: &str) {
        let [client, server] = self.end_recordings();
        kept::keep(&format!("{name}.client"), &client);
        kept::keep(&format!("{name}.server"), &server);
    }

    fn end_recordings(self) -> [Vec<u8>; 2] {
        drop(self.world);
        self.files.map(|file| file.octets())
    }

    pub(crate) fn is_open(&self, host: Party) -> bool {
        let mut events = self.world.events(host);
        events.any(|(_, event)| matches!(event, Event::Connected(_)))
    }
}

/// An initiator with selectors and a reference of its own, so that ladders are easy to read.
pub(crate) fn client() -> Config {
    Config::initiator(
        Some(Selector::new(&[1, 0][..])),
        Some(Selector::new(&[1, 2][..])),
    )
}

/// A message in which each octet tells its place.
pub(crate) fn message(len: usize, first: u8) -> Bytes {
    (0..=u8::MAX)
        .cycle()
        .skip(usize::from(first))
        .take(len)
        .collect()
}

/// Names the TPDUs in what an end writes, of which one may begin in one write and end in the next.
#[derive(Debug, Default)]
struct Labels {
    missing: usize,
}

impl Labels {
    fn label(&mut self, octets: &[u8]) -> String {
        let mut names: Vec<(String, usize)> = Vec::new();
        let mut rest = octets;
        if self.missing > 0 {
            let taken = self.missing.min(rest.len());
            self.missing -= taken;
            rest = &rest[taken..];
            names.push((String::from(".."), 1));
        }
        while let [_, _, high, low, ..] = rest {
            let len = usize::from(u16::from_be_bytes([*high, *low])).max(4);
            self.missing = len.saturating_sub(rest.len());
            let (packet, behind) = rest.split_at(len.min(rest.len()));
            rest = behind;
            let name = short(&packet[4..], self.missing > 0);
            match names.last_mut() {
                Some((last, count)) if *last == name => *count += 1,
                _ => names.push((name, 1)),
            }
        }
        let names = names.iter().map(|(name, count)| match count {
            1 => name.clone(),
            count => format!("{count} x {name}"),
        });
        names.collect::<Vec<_>>().join(", ")
    }
}

fn short(octets: &[u8], is_cut: bool) -> String {
    match Tpdu::decode(octets) {
        Ok(Tpdu::Data(_)) if is_cut => String::from("DT.."),
        Ok(Tpdu::Data(data)) => {
            let end = if data.is_last { "." } else { "" };
            format!("DT {}{end}", data.user_data.len())
        }
        Ok(tpdu) => tpdu.name().to_string(),
        Err(_) => String::from("?"),
    }
}

fn name(event: &Event) -> String {
    match event {
        Event::Received(message) => format!("received {}", message.len()),
        Event::Connected(_) => String::from("connected"),
        Event::Indication(_) => String::from("indication"),
        Event::Failed(end) => format!("failed: {end}"),
        Event::Closed(end) => format!("closed: {end}"),
        Event::Flushed(_) => String::from("flushed"),
        other => format!("{other:?}").to_lowercase(),
    }
}
