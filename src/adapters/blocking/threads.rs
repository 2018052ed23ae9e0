//! The three threads of a stream: one reads, one writes what did not go out at once, one keeps the time.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use core::time::Duration;
use std::io;
use std::thread;

use bytes::{Bytes, BytesMut};

use super::Carrier;
use super::drive::{Drive, End, Reading};
use super::shared::{Found, Shared};
use crate::adapters::Detached;
use crate::adapters::cause::cause_of;
use crate::{Machine, Transmit};

/// Octets of one read.
const CHUNK: usize = 1 << 16;
/// How long a read waits before it looks whether the stream is still to be read. A stream that is handed
/// over is free after this time at the latest, and it mostly is handed over soon after octets came: so the
/// wait grows from one to the other while nothing comes.
pub(super) const SHORTEST_READ: Duration = Duration::from_millis(10);
const LONGEST_READ: Duration = Duration::from_millis(250);
/// How long a write waits before it looks whether it is called off.
pub(super) const LONGEST_WRITE: Duration = Duration::from_millis(50);

/// Starts the threads of a stream. Should the system refuse one, those that run end by themselves.
pub(super) fn spawn<M, S>(shared: &Arc<Shared<M, S>>, stream: Arc<S>) -> io::Result<()>
where
    M: Machine<Addr = (), Command: Send, Event: Send> + Send + 'static,
    S: Carrier,
{
    let for_writer = Arc::clone(&stream);
    start(shared, "farlink writer", |shared| {
        write(&shared, for_writer);
    })?;
    start(shared, "farlink reader", |shared| read(&shared, stream))?;
    start(shared, "farlink keeper", |shared| keep(&shared))
}

fn start<M, S>(
    shared: &Arc<Shared<M, S>>,
    name: &str,
    run: impl FnOnce(Arc<Shared<M, S>>) + Send + 'static,
) -> io::Result<()>
where
    M: Machine<Addr = (), Command: Send, Event: Send> + Send + 'static,
    S: Carrier,
{
    let for_thread = Arc::clone(shared);
    shared.with(Drive::thread_starts);
    let spawned = thread::Builder::new().name(name.into()).spawn(move || {
        run(Arc::clone(&for_thread));
        for_thread.with(Drive::thread_ends);
    });
    if spawned.is_err() {
        shared.with(Drive::thread_ends);
    }
    spawned.map(drop)
}

/// Fires timers, and goes on with turns that were too long for whoever began them.
fn keep<M: Machine<Addr = ()>, S: Carrier>(shared: &Shared<M, S>) {
    shared.when(&shared.bells.keeper, |drive| {
        drive.tick();
        if drive.is_over() {
            Found::This(())
        } else if drive.is_restless() {
            drive.disarm();
            Found::More
        } else {
            Found::Nothing(drive.arm())
        }
    });
}

fn read<M: Machine<Addr = ()>, S: Carrier>(shared: &Shared<M, S>, stream: Arc<S>) {
    let mut scratch = vec![0; CHUNK];
    let unseen = read_on(shared, &*stream, &mut scratch);
    let unseen = scratch.get(..unseen).unwrap_or_default();
    shared.with(|drive| drive.reader_stops(unseen));
    part_with(shared, stream);
}

/// Reads until the end, or until the machine is done with the stream. Returns how many octets at the front
/// of `scratch` the machine did not see.
fn read_on<M: Machine<Addr = ()>, S: Carrier>(
    shared: &Shared<M, S>,
    stream: &S,
    scratch: &mut [u8],
) -> usize {
    let mut unseen = 0;
    let mut limit = SHORTEST_READ;
    loop {
        let next = shared.when(&shared.bells.reader, |drive| match drive.reading() {
            Reading::Feed if unseen > 0 => {
                let octets = scratch.get(..unseen).unwrap_or_default();
                unseen = 0;
                drive.receive(octets);
                // The turn may have changed everything; a read between two turns is not much to look again.
                Found::This(drive.reading())
            }
            Reading::Wait => Found::Nothing(None),
            next => Found::This(next),
        });
        match next {
            Some(Reading::Feed | Reading::Discard) => {}
            Some(Reading::Wait) => continue,
            Some(Reading::Keep) => return unseen,
            Some(Reading::Stop) | None => return 0,
        }
        match stream.read(scratch) {
            Ok(0) => return ended(shared, None),
            Ok(octets) => {
                unseen = octets;
                if limit != SHORTEST_READ {
                    limit = SHORTEST_READ;
                    // Should it fail, the reads to come only look less often.
                    let _ = stream.limit_read(limit);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if is_pause(&error) => {
                shared.with(Drive::quiet);
                if limit != LONGEST_READ {
                    limit = (limit * 2).min(LONGEST_READ);
                    let _ = stream.limit_read(limit);
                }
            }
            Err(error) => return ended(shared, Some(&error)),
        }
    }
}

fn ended<M: Machine<Addr = ()>, S: Carrier>(
    shared: &Shared<M, S>,
    error: Option<&io::Error>,
) -> usize {
    shared.with(|drive| drive.read_ended(error.map(cause_of)));
    0
}

/// Windows has one error for a read that came to its limit and for a peer that is silent for too long; the
/// next read tells them apart.
fn is_pause(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
        || (cfg!(windows) && error.kind() == io::ErrorKind::TimedOut)
}

fn write<M: Machine<Addr = ()>, S: Carrier>(shared: &Shared<M, S>, stream: Arc<S>) {
    let limits = shared.with(|drive| drive.limits());
    let mut load = Transmit::new(limits.unwrap_or_default());
    loop {
        let found = shared.when(&shared.bells.writer, |drive| {
            if drive.is_gone() {
                return Found::This(None);
            }
            match drive.take_load(&mut load) {
                Some(sent) => Found::This(Some(sent)),
                None => Found::Nothing(None),
            }
        });
        let Some(Some(sent)) = found else {
            break;
        };
        let outcome = write_all(
            shared,
            &*stream,
            load.octets().get(sent..).unwrap_or_default(),
        );
        shared.with(|drive| drive.written(outcome));
    }
    part_with(shared, stream);
}

fn write_all<M: Machine<Addr = ()>, S: Carrier>(
    shared: &Shared<M, S>,
    stream: &S,
    mut octets: &[u8],
) -> io::Result<()> {
    while !octets.is_empty() && !shared.cut.load(Ordering::Relaxed) {
        match stream.write(octets) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => octets = octets.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted || is_pause(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Lets go of the stream. Whoever does so last brings about its end.
fn part_with<M: Machine<Addr = ()>, S: Carrier>(shared: &Shared<M, S>, stream: Arc<S>) {
    shared.clear_wreck();
    let Some(stream) = Arc::into_inner(stream) else {
        return;
    };
    match shared.with(Drive::take_end) {
        Some(End::Abort) => stream.abort(),
        Some(End::Hand { tag, early, late }) => {
            // Should it fail, the application's first read finds out why.
            let _ = stream.block(None, None);
            let early = join(early, late);
            shared.with(|drive| drive.hand(Detached { tag, stream, early }));
        }
        _ => drop(stream),
    }
}

fn join(early: Bytes, late: Vec<u8>) -> Bytes {
    if early.is_empty() {
        return late.into();
    }
    if late.is_empty() {
        return early;
    }
    let mut all = BytesMut::with_capacity(early.len() + late.len());
    all.extend_from_slice(&early);
    all.extend_from_slice(&late);
    all.freeze()
}
