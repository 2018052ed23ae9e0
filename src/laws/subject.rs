//! How a machine is put on trial.

use core::fmt::Debug;

use crate::{Machine, Seed};

/// A machine that can be put on trial: made from a configuration, weighed, and fed scripts.
///
/// Implemented by every protocol, next to its machine. Only what the laws cannot see from outside is asked
/// for; the defaults suit a machine on one stream.
///
/// ```
/// use farlink::laws::{self, Case, Step, LawSubject};
/// # use farlink::{Instant, Link, Machine, Output, Seed, Transmit};
/// # use core::convert::Infallible;
///
/// /// Tells how many octets came.
/// struct Counter {
///     most: usize,
///     seen: usize,
///     told: usize,
/// }
/// # impl Machine for Counter {
/// #     type Addr = ();
/// #     type Command = ();
/// #     type Event = usize;
/// #     type Error = Infallible;
/// #     fn receive(&mut self, _: Instant, (): (), octets: &[u8]) {
/// #         self.seen = self.most.min(self.seen + octets.len());
/// #     }
/// #     fn link(&mut self, _: Instant, (): (), _: Link) {}
/// #     fn command(&mut self, _: Instant, (): ()) -> Result<(), Infallible> { Ok(()) }
/// #     fn poll(&mut self, _: Instant, tx: &mut Transmit<()>) -> Output<(), usize> {
/// #         tx.clear();
/// #         if self.told == self.seen {
/// #             return Output::Idle(None);
/// #         }
/// #         self.told += 1;
/// #         Output::Event(self.told)
/// #     }
/// # }
///
/// impl LawSubject for Counter {
///     type Config = usize;
///
///     fn make(most: &usize, _: Seed) -> Option<Self> {
///         (*most > 0).then_some(Self { most: *most, seen: 0, told: 0 })
///     }
///     fn memory_limit(_: &usize) -> usize {
///         size_of::<Self>()
///     }
///     fn memory_used(&self) -> usize {
///         size_of::<Self>()
///     }
///     fn is_stream(_: &usize, (): ()) -> bool {
///         true
///     }
/// }
///
/// let octets = vec![0; 20];
/// laws::check(Case::<Counter>::new(12, vec![Step::Receive { from: (), octets }]));
/// ```
pub trait LawSubject: Machine<Command: Clone + Debug, Event: Debug + PartialEq> + Sized {
    /// What a machine is made from, beside the seed.
    type Config: Clone + Debug;

    /// Makes a machine, or `None` when the configuration is refused.
    fn make(config: &Self::Config, seed: Seed) -> Option<Self>;

    /// Returns how many bytes of memory the configuration allows the machine to hold.
    ///
    /// Allocated bytes count, useful or not. One chunk more is granted on top for each stream that is read,
    /// and one for datagrams.
    fn memory_limit(config: &Self::Config) -> usize;

    /// Returns how many bytes of memory the machine holds, counted as for [`ceiling`](Self::memory_limit).
    fn memory_used(&self) -> usize;

    /// Tells whether octets from `at` are a stream; otherwise each receive is a datagram.
    ///
    /// The configuration decides for a numbered interface: a serial line is a stream, a CAN bus is not.
    fn is_stream(config: &Self::Config, at: Self::Addr) -> bool;

    /// Tells whether the stream at `from` is left unread until somebody decides.
    ///
    /// An application that has to accept, a second stream that has to be bound: the machine cannot want
    /// octets on its own account then, and law 12 waits with it. A full queue and events to be taken are no
    /// such reasons.
    fn awaits(&self, from: Self::Addr) -> bool {
        let _ = from;
        false
    }

    /// Returns how many outputs one drain may have, for law 1.
    ///
    /// Every output needs something to come from: a call, an octet that came in, a byte of state. The
    /// default grants 16 to a call and 4 to each of the others, which holds for sends of one octet and for
    /// a protocol that frames each octet on its own.
    #[must_use]
    fn most_outputs(fed: DrainInput) -> usize {
        let weight = fed.octets.saturating_add(fed.held).saturating_mul(4);
        fed.calls
            .saturating_mul(16)
            .saturating_add(weight)
            .saturating_add(64)
    }

    /// Returns how many events may come from time alone, for law 1.
    ///
    /// Such an event tells the end of something that the machine holds, and the smallest thing to hold is a
    /// word of 8 bytes. What goes on for ever, such as keepalives, is no event.
    #[must_use]
    fn most_events(fed: DrainInput) -> usize {
        (fed.held / 8).saturating_add(64)
    }

    /// Fills in what a driver knows of a path that it opened: the real local port.
    ///
    /// `nth` counts the paths opened before. The default leaves the path as it was asked for.
    #[must_use]
    fn bound(path: Self::Addr, nth: usize) -> Self::Addr {
        let _ = nth;
        path
    }

    /// Turns an address of a script into one of this run.
    ///
    /// Scripts are generated with any addresses, and written before the machine chooses its sockets. A
    /// machine that knows few addresses, or opens paths of its own, maps them here, or hardly any step
    /// meets another. The default changes nothing.
    #[must_use]
    fn route(at: Self::Addr, opened: &[Self::Addr]) -> Self::Addr {
        let _ = opened;
        at
    }

    /// Generates the octets of one receive.
    ///
    /// The default takes any. A protocol with checksums or long headers mixes valid packets in, or random
    /// scripts never get past its door.
    ///
    /// # Errors
    ///
    /// As those of `arbitrary`.
    #[cfg(feature = "arbitrary")]
    fn arbitrary_octets(
        config: &Self::Config,
        u: &mut arbitrary::Unstructured<'_>,
    ) -> arbitrary::Result<alloc::vec::Vec<u8>> {
        let _ = config;
        super::generate::any_octets(u)
    }
}

/// What a machine was given since it was last idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DrainInput {
    /// Calls that brought input: receives, cues and commands.
    pub calls: usize,
    /// Octets received.
    pub octets: usize,
    /// The most bytes it held since, what commands brought included.
    pub held: usize,
}
