//! The model as a machine of the simulator.

use core::convert::Infallible;

use farlink::{Hop, Instant, Link, Output, Transmit};

use super::{App, Libcsp};

#[derive(Debug)]
pub(crate) enum Command<C> {
    App(C),
    /// The process is killed and started again. Connections and sockets are gone.
    Restart,
}

#[derive(Debug)]
pub(crate) struct Machine<A>(pub(crate) Libcsp<A>);

impl<A: App> farlink::Machine for Machine<A> {
    type Addr = Hop;
    type Command = Command<A::Command>;
    type Event = A::Event;
    type Error = Infallible;

    fn receive(&mut self, now: Instant, _: Hop, octets: &[u8]) {
        self.0.receive(now, octets);
    }

    fn link(&mut self, _: Instant, _: Hop, _: Link) {}

    fn command(&mut self, now: Instant, command: Self::Command) -> Result<(), Infallible> {
        self.0.advance(now);
        match command {
            Command::App(command) => self.0.command(now, command),
            Command::Restart => self.0.restart(now),
        }
        Ok(())
    }

    fn poll(&mut self, now: Instant, tx: &mut Transmit<Hop>) -> Output<Hop, A::Event> {
        tx.clear();
        self.0.advance(now);
        if let Some(event) = self.0.app.next_event() {
            return Output::Event(event);
        }
        if let Some((via, octets)) = self.0.next_packet() {
            let to = Hop { interface: 0, via };
            assert!(tx.push(to, octets.len(), |out| out.extend_from_slice(&octets)));
            return Output::Transmit;
        }
        Output::Idle(self.0.deadline())
    }
}
