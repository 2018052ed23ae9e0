//! `rusty-cotp` between a writer and a reader in memory.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use std::sync::Mutex;

use rusty_cotp::{
    CotpConnection as _, CotpConnectionParameters, CotpProtocolInformation, CotpReader,
    CotpResponder as _, CotpWriter, RustyCotpConnection, RustyCotpResponder,
};
use rusty_tpkt::{ProtocolInformation, TpktConnection, TpktError, TpktReader, TpktWriter};

/// Packets between two ends. Each is one element, as `rusty-tpkt` returns them after its own copy.
#[derive(Clone, Default)]
struct PacketQueue(Arc<Mutex<VecDeque<Vec<u8>>>>);

struct Ends {
    reader: PacketQueue,
    writer: PacketQueue,
    information: Vec<Box<dyn ProtocolInformation>>,
}

/// An open connection: the writer of one end and the reader of the other.
pub(crate) struct Peer<R, W> {
    reader: R,
    writer: W,
    queue: PacketQueue,
    prepared: Vec<Vec<u8>>,
}

impl Peer<(), ()> {
    /// Makes two connected ends in memory.
    pub(crate) fn open() -> Peer<impl CotpReader, impl CotpWriter> {
        let (forth, back) = (PacketQueue::default(), PacketQueue::default());
        let near = Ends::new(&back, &forth);
        let far = Ends::new(&forth, &back);
        let options = CotpConnectionParameters {
            max_reassembled_payload_size: 1 << 21,
        };
        let information = CotpProtocolInformation::initiator(None, None);
        let mut initiating = Box::pin(RustyCotpConnection::<PacketQueue, PacketQueue>::initiate(
            near,
            information.clone(),
            options.clone(),
        ));
        let mut context = Context::from_waker(Waker::noop());
        assert!(initiating.as_mut().poll(&mut context).is_pending());
        let (responder, _) = now(RustyCotpResponder::<PacketQueue, PacketQueue>::new(
            far, options,
        ))
        .unwrap();
        let responder = now(responder.accept(information.responder())).unwrap();
        let initiator = now(initiating).unwrap();
        let (_, writer) = now(initiator.split()).unwrap();
        let (reader, _) = now(responder.split()).unwrap();
        Peer {
            reader,
            writer,
            queue: forth,
            prepared: Vec::new(),
        }
    }
}

impl<R: CotpReader, W: CotpWriter> Peer<R, W> {
    /// Writes a message as packets.
    pub(crate) fn send(&mut self, message: &[u8]) {
        let mut queue = VecDeque::from([message.to_vec()]);
        now(self.writer.send(&mut queue)).unwrap();
    }

    /// Reads a message from the packets.
    pub(crate) fn receive(&mut self) -> Vec<u8> {
        now(self.reader.recv()).unwrap().unwrap()
    }

    /// Reads a message from the packets of the last one sent, which are kept.
    pub(crate) fn receive_again(&mut self) -> Vec<u8> {
        let mut queue = self.queue.0.lock().unwrap();
        if self.prepared.is_empty() {
            self.prepared = queue.drain(..).collect();
        }
        queue.extend(self.prepared.iter().cloned());
        drop(queue);
        self.receive()
    }

    /// Drops the packets.
    pub(crate) fn forget(&mut self) {
        self.queue.0.lock().unwrap().clear();
    }
}

impl Ends {
    fn new(reader: &PacketQueue, writer: &PacketQueue) -> Self {
        Self {
            reader: reader.clone(),
            writer: writer.clone(),
            information: Vec::new(),
        }
    }
}

impl TpktConnection for Ends {
    fn get_protocol_infomation_list(&self) -> &Vec<Box<dyn ProtocolInformation>> {
        &self.information
    }

    async fn split(self) -> Result<(impl TpktReader, impl TpktWriter), TpktError> {
        Ok((self.reader, self.writer))
    }
}

impl TpktReader for PacketQueue {
    async fn recv(&mut self) -> Result<Option<Vec<u8>>, TpktError> {
        core::future::poll_fn(|_| match self.0.lock().unwrap().pop_front() {
            Some(packet) => Poll::Ready(Ok(Some(packet))),
            None => Poll::Pending,
        })
        .await
    }
}

impl TpktWriter for PacketQueue {
    async fn send(&mut self, packets: &mut VecDeque<Vec<u8>>) -> Result<(), TpktError> {
        self.0.lock().unwrap().append(packets);
        Ok(())
    }
}

/// Polls a future that has all it needs.
fn now<T>(future: impl Future<Output = T>) -> T {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(future).poll(&mut context) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the peer waits for what never comes"),
    }
}
