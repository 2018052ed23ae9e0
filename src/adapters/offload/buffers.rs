//! How much a socket holds for the application.

/// What the system granted of the buffers asked for.
///
/// Linux grants twice what was asked, as its own bookkeeping is taken out of it: datagrams of 1400 octets
/// fill the buffer at about half of it, trains of datagrams (GRO) at nearly all of it. Where the system
/// says nothing, and without the feature `offload`, both are 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Buffers {
    /// Octets that wait to be read (`SO_RCVBUF`); what comes beyond is lost.
    pub receive: usize,
    /// Octets that wait to be sent (`SO_SNDBUF`); beyond, the socket is full.
    pub send: usize,
}
