//! Recordings of connections and nodes.

use alloc::sync::Arc;
use core::fmt;
use core::net::SocketAddr;
use core::sync::atomic::{AtomicU32, Ordering};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex};

use farlink::adapters::{
    self, Clock, MachineFactory,
    cotp::{ConnectionFactory, ConnectionMachine},
    ltp::{EngineMachine, EngineSetup},
};
use farlink::cotp::{Connection, Role};
use farlink::ltp::Engine;
use farlink::record::{Files, Interface, RecordOptions, Recorded, Recorder};
use farlink::{BoxedMachine, Path as NetPath, Seed};

use crate::{Failure, output};

/// Makes the engine of a node, recorded on request.
pub(crate) struct EngineRecorder(Mutex<Option<RecordingFile>>);

impl EngineRecorder {
    /// Creates the file, before the node does anything that is to be recorded.
    pub(crate) fn new(path: Option<&Path>) -> Result<Self, Failure> {
        path.map(create)
            .transpose()
            .map(|file| Self(Mutex::new(file)))
    }

    /// Makes the engine.
    pub(crate) fn engine(&self, setup: EngineSetup) -> Result<EngineMachine, adapters::ltp::Error> {
        let file = self.0.lock().map_or(None, |mut file| file.take());
        let Some(file) = file else {
            return setup.engine().map(EngineMachine::new);
        };
        let EngineSetup { config, seed, .. } = setup;
        let recorder = Recorder::<Engine<NetPath>>::new(config, seed, file, options())?;
        Ok(EngineMachine::new(recorder))
    }
}

/// The file of a recording. A write error is reported, and the machine continues.
struct RecordingFile {
    file: File,
    path: PathBuf,
}

impl RecordingFile {
    fn create(path: &Path) -> io::Result<Self> {
        Ok(Self {
            file: File::create(path)?,
            path: path.into(),
        })
    }
}

impl Write for RecordingFile {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.file.write(octets).inspect_err(|error| {
            let path = self.path.display();
            output::write_error(&format!("{path}: {error}; the recording ends there"));
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn create(path: &Path) -> Result<RecordingFile, Failure> {
    RecordingFile::create(path).map_err(|error| Failure::file(path, error))
}

/// Records the first connection into `path`, and further ones into numbered files beside it.
pub(crate) fn connection_factory(path: &Path) -> Result<ConnectionFactory, Failure> {
    create(path)?;
    let files = Files::new(path);
    let count = Arc::new(AtomicU32::new(0));
    Ok(ConnectionFactory::new(move |(config, seed, ends)| {
        let path = files.path(count.fetch_add(1, Ordering::Relaxed));
        let interface = interface(&config.role, ends);
        let machine: ConnectionMachine = match RecordingFile::create(&path) {
            Ok(file) => ConnectionMachine::new(
                Recorder::<Connection>::new(config, seed, file, options())?
                    .with_interfaces(move |()| interface.clone()),
            ),
            Err(error) => {
                output::write_error(&format!("{}: {error}; not recorded", path.display()));
                ConnectionMachine::new(Connection::new(config, &seed)?)
            }
        };
        Ok(machine)
    }))
}

/// Makes the machine of a node from its configuration and seed.
pub(crate) type NodeFactory<M, E> = MachineFactory<M, (<M as Recorded>::Config, Seed), E>;

/// Records the node that is made first.
pub(crate) fn node_factory<M, E>(path: &Path) -> Result<NodeFactory<M, E>, Failure>
where
    M: Recorded<ConfigError: Into<E>> + Send + 'static,
{
    let file = Mutex::new(Some(create(path)?));
    Ok(NodeFactory::new(move |(config, seed)| {
        let file = file.lock().map_or(None, |mut file| file.take());
        let machine = match file {
            Some(file) => Recorder::<M>::new(config, seed, file, options()).map(BoxedMachine::new),
            None => M::make(config, seed).map(BoxedMachine::new),
        };
        machine.map_err(Into::into)
    }))
}

/// Returns the addresses of a recorded connection. The service has port 102, by which analysers know the
/// protocol.
fn interface(role: &Role, (mut local, mut remote): (SocketAddr, SocketAddr)) -> Interface {
    let port = Connection::PORT;
    if ![local.port(), remote.port()].contains(&port) {
        match role {
            Role::Initiator(_) => remote.set_port(port),
            Role::Responder(_) => local.set_port(port),
        }
    }
    Interface::Network(NetPath::tcp(local, remote))
}

/// The clock of all recordings, and its origin in seconds since 1970, by which analysers show the time of day.
static CLOCK: LazyLock<(Clock, u64)> = LazyLock::new(Clock::since_epoch);

/// Returns the clock of all recordings.
pub(crate) fn clock() -> Clock {
    CLOCK.0
}

/// Returns the seconds since 1970.
pub(crate) fn wall_seconds() -> i64 {
    let passed = clock().now() - farlink::Instant::ZERO;
    i64::try_from(CLOCK.1 + passed.as_secs()).unwrap_or(i64::MAX)
}

/// Makes a machine that is recorded into a file, or one that is not.
pub(crate) fn machine<M>(
    path: Option<&Path>,
    config: M::Config,
    seed: Seed,
) -> Result<BoxedMachine<M>, Failure>
where
    M: Recorded<ConfigError: fmt::Display> + Send + 'static,
    Recorder<M>: Send,
{
    let Some(path) = path else {
        let machine = M::make(config, seed);
        return machine
            .map(BoxedMachine::new)
            .map_err(|error| Failure::Usage(error.to_string()));
    };
    let recorder = Recorder::<M>::new(config, seed, create(path)?, options());
    recorder
        .map(BoxedMachine::new)
        .map_err(|error| Failure::Usage(error.to_string()))
}

fn options() -> RecordOptions {
    RecordOptions {
        epoch: CLOCK.1,
        ..RecordOptions::default()
    }
}
