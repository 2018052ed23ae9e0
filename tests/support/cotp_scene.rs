//! Two COTP connections joined by a stream.

use core::time::Duration;

use bytes::Bytes;
use farlink::cotp::{
    Command, Config, Connection, ConnectionEnd, EndReason, Event, Policy, Selector, TpduLabels,
    TpduSize, event_label,
};
use farlink::record::{Flush, RecordOptions, Recorder};
use farlink::sim::{Host, StreamLine, World};

use crate::recordings;
use crate::sink::Sink;

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// One end of a connection, recorded.
pub(crate) type CotpHost = Host<Recorder<Connection>>;

/// An initiator and a responder.
pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) client: CotpHost,
    pub(crate) server: CotpHost,
    /// Their recordings.
    files: [Sink; 2],
}

impl Scene {
    /// Connects the two. The initiator sends its CR at once.
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
            let mut labels = TpduLabels::default();
            world.label_host(host, move |chunk| labels.name(chunk));
            world.label_events(host, event_label);
        }
        world.connect(client, server, line);
        Self {
            world,
            client,
            server,
            files,
        }
    }

    /// With the default configurations, and a responder that accepts all calls.
    pub(crate) fn plain(seed: u64, line: StreamLine) -> Self {
        Self::new(seed, client(), responder(Policy::AcceptAny), line)
    }

    pub(crate) fn send(&mut self, host: CotpHost, message: &Bytes) {
        let send = Command::Send(message.clone());
        self.world.command(host, send).unwrap();
    }

    pub(crate) fn run(&mut self, span: Duration) {
        self.world.run_for(span);
    }

    pub(crate) fn received(&self, host: CotpHost) -> Vec<Bytes> {
        let events = self.world.events(host);
        events
            .filter_map(|(_, event)| match event {
                Event::Received(message) => Some(message.clone()),
                _ => None,
            })
            .collect()
    }

    pub(crate) fn end(&self, host: CotpHost) -> Option<ConnectionEnd> {
        let mut events = self.world.events(host);
        events.find_map(|(_, event)| match event {
            Event::Failed(end) | Event::Closed(end) => Some((**end).clone()),
            _ => None,
        })
    }

    pub(crate) fn reason(&self, host: CotpHost) -> Option<EndReason> {
        self.end(host).map(|end| end.reason)
    }

    /// Stops recording, which saves time in tests with many runs.
    pub(crate) fn forget(&mut self) {
        for host in [self.client, self.server] {
            self.world.with(host, |machine, _| machine.finish());
        }
    }

    /// Checks that both recordings replay.
    pub(crate) fn replays(self) {
        self.end_recordings()
            .iter()
            .for_each(|file| recordings::replays(file));
    }

    /// Checks that both recordings replay, and equal those in `vectors`.
    pub(crate) fn keep(self, name: &str) {
        let [client, server] = self.end_recordings();
        recordings::keep(&format!("{name}.client"), &client);
        recordings::keep(&format!("{name}.server"), &server);
    }

    fn end_recordings(self) -> [Vec<u8>; 2] {
        drop(self.world);
        self.files.map(|file| file.octets())
    }

    pub(crate) fn is_open(&self, host: CotpHost) -> bool {
        let mut events = self.world.events(host);
        events.any(|(_, event)| matches!(event, Event::Connected(_)))
    }
}

/// An initiator with selectors.
pub(crate) fn client() -> Config {
    sized(Config::initiator(
        Some(Selector::new(&[1, 0][..])),
        Some(Selector::new(&[1, 2][..])),
    ))
}

pub(crate) fn responder(policy: Policy) -> Config {
    sized(Config::responder(policy))
}

/// With DTs that take a while on a slow line.
fn sized(config: Config) -> Config {
    Config {
        tpdu_size: TpduSize::ISO,
        ..config
    }
}

/// A message in which each octet tells its offset.
pub(crate) fn message(len: usize, first: u8) -> Bytes {
    (0..=u8::MAX)
        .cycle()
        .skip(usize::from(first))
        .take(len)
        .collect()
}
