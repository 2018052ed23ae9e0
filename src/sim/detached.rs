//! What a script does with streams: detached ones, and those of machines.

use bytes::Bytes;

use super::{AnyAddr, Host, HostId, SimAddr, World, misuse};
use crate::{Machine, Tag};

impl World {
    /// Writes to a stream that the machine of `host` has detached under `tag`.
    pub fn write(&mut self, host: impl Into<HostId>, tag: Tag, octets: &[u8]) {
        let id = host.into();
        let (index, addr) = self.find_detached(id, tag);
        match addr {
            AnyAddr::Path(path) => self.write_detached_tcp(id, path, index, octets),
            _ => self.write_detached_pipe(id, index, Bytes::copy_from_slice(octets)),
        }
    }

    /// Closes a stream that the machine of `host` has detached under `tag`. Octets written before are sent
    /// first.
    pub fn close(&mut self, host: impl Into<HostId>, tag: Tag) {
        let id = host.into();
        let (index, addr) = self.find_detached(id, tag);
        match addr {
            AnyAddr::Path(path) => self.close_detached_tcp(id, path, index),
            _ => self.close_detached_pipe(id, index),
        }
    }

    fn find_detached(&self, id: HostId, tag: Tag) -> (usize, AnyAddr) {
        // If a tag was used again, the last stream is meant.
        let detached = self.detached(id).iter().enumerate().rev();
        let mut matching = detached.filter(|(_, detached)| detached.tag == tag);
        match matching.next() {
            Some((index, detached)) => (index, detached.addr),
            None => misuse("no stream was detached under this tag"),
        }
    }

    /// Resets a stream, as the network may do. Its machine gets [`Link::Down`](crate::Link::Down) with
    /// [`Cause::Reset`](crate::Cause::Reset) at once, and the peer when the reset arrives. Octets in flight
    /// are lost.
    pub fn reset<M>(&mut self, host: Host<M>, at: M::Addr)
    where
        M: Machine<Addr: SimAddr>,
    {
        match at.to_any() {
            AnyAddr::Stream => self.reset_pipe(host.id()),
            AnyAddr::Path(path) => self.reset_tcp(host.id(), path),
            AnyAddr::Number(_) | AnyAddr::Hop(_) => misuse("only streams can be reset"),
        }
    }

    /// Ends one direction of a stream without its machine. The peer gets [`Link::Ended`](crate::Link::Ended)
    /// after what is in flight. What the machine writes later is lost.
    pub fn half_close<M>(&mut self, host: Host<M>, at: M::Addr)
    where
        M: Machine<Addr: SimAddr>,
    {
        match at.to_any() {
            AnyAddr::Stream => self.half_close_pipe(host.id()),
            AnyAddr::Path(path) => self.finish_tcp(host.id(), (path.local, path.remote)),
            AnyAddr::Number(_) | AnyAddr::Hop(_) => misuse("only streams can be half closed"),
        }
    }
}
