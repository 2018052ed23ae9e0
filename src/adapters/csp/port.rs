//! Who gets which event of a node, and who waits for what.

use std::io;

use super::state::NodeState;
use super::{CspMachine, Error};
use crate::Tag;
use crate::adapters::driver::{ClosePort, Core, Port, Rest};
use crate::csp::{self, Command, ConnectionId, Event};

/// What the handles of a node wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Line {
    /// A connection that opens.
    Open(Tag),
    /// What is received on a connection, room, acknowledgements and its end.
    Connection(ConnectionId),
    /// A connection at a port, or a packet without.
    Socket(u8),
    /// Answers.
    Answer(Tag),
    /// A request to a service.
    Asked,
    /// The end of the node.
    End,
}

/// The core of a node that the handles of CSP act on: one of CSP, or of a protocol above it.
pub(crate) trait CspCore {
    /// Returns what the handles share.
    fn state(&mut self) -> &mut NodeState;

    /// Gives the machine a command.
    fn give_csp(&mut self, command: Command) -> Result<(), Error>;

    /// Returns the machine, or the one inside it.
    fn csp(&self) -> &csp::Node;

    /// Wakes all that wait in a line.
    fn wake(&mut self, line: Line);

    /// Tells whether the machine is not driven any more, or about to be so.
    fn is_over(&self) -> bool;
}

impl CspCore for Core<NodePort> {
    fn state(&mut self) -> &mut NodeState {
        &mut self.port.0
    }

    fn give_csp(&mut self, command: Command) -> Result<(), Error> {
        Ok(self.give(command)?)
    }

    fn csp(&self) -> &csp::Node {
        self.peek()
    }

    fn wake(&mut self, line: Line) {
        self.wakes.all(line);
    }

    fn is_over(&self) -> bool {
        self.is_over()
    }
}

/// The state that the handles of a node share, beside the machine.
#[derive(Debug)]
pub(crate) struct NodePort(pub(super) NodeState);

impl Port for NodePort {
    type Machine = CspMachine;
    type Line = Line;

    fn deliver(core: &mut Core<Self>, event: Event) {
        <dyn CspCore>::deliver(core, event);
    }

    fn tend(core: &mut Core<Self>, is_idle: bool) -> Rest {
        let now = core.now;
        <dyn CspCore>::tend(core, now, is_idle)
    }

    fn end(&mut self, machine: &mut CspMachine, _: io::Result<()>) {
        machine.finish();
    }
}

impl ClosePort for NodePort {
    type Error = Error;
    const END: Line = Line::End;

    fn is_closing(&self) -> bool {
        self.0.is_closing()
    }

    fn close(core: &mut Core<Self>) {
        let now = core.now;
        <dyn CspCore>::close(core, now);
        core.touch();
    }
}
