//! What a machine implements to be checked against the laws.

use core::fmt::Debug;

use crate::{Machine, Seed};

/// A machine that can be checked against the laws: made from a configuration, fed a script, and measured.
///
/// Every protocol implements it beside its machine. It gives the laws what they cannot observe from outside;
/// the defaults suit a machine on one stream.
///
/// ```
/// use farlink::laws::{self, Case, Step, LawSubject};
/// # use farlink::{Instant, Link, Machine, Output, Seed, Transmit};
/// # use core::convert::Infallible;
///
/// /// Counts octets, and tells the count after each.
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
    /// What a machine is made from, besides a seed.
    type Config: Clone + Debug;

    /// Makes a machine, or `None` when the configuration is refused.
    fn make(config: &Self::Config, seed: Seed) -> Option<Self>;

    /// Returns the largest number of bytes that a machine of this configuration may allocate.
    ///
    /// Allocated bytes count, useful or not. One chunk is added for each stream that is read, and one
    /// for datagrams.
    fn memory_limit(config: &Self::Config) -> usize;

    /// Returns the number of bytes that the machine has allocated, counted as for
    /// [`memory_limit`](Self::memory_limit).
    fn memory_used(&self) -> usize;

    /// Tells whether octets from `at` are a stream. If not, each receive is a datagram.
    ///
    /// For a numbered interface the configuration decides: a serial line is a stream, a CAN bus is not.
    fn is_stream(config: &Self::Config, at: Self::Addr) -> bool;

    /// Tells whether the stream at `from` is left unread until somebody decides.
    ///
    /// For example, the application has to accept a connection, or a second stream has to be bound. Law 12
    /// does not apply until then. A full queue and events that were not taken are no such decisions.
    fn awaits(&self, from: Self::Addr) -> bool {
        let _ = from;
        false
    }

    /// Tells whether `at` is the address of a stranger, for law 13: one that no configuration, no command and no
    /// authentication has named.
    ///
    /// Anybody can write the source address of a datagram. So a machine sends a stranger little more than came
    /// from it, or it would serve to flood others. One that has proved to receive what it is sent, by a number that
    /// cannot be guessed, is no stranger from then on. What a command causes is no answer, and names the peer. The
    /// default knows no strangers.
    fn is_stranger(&self, at: Self::Addr) -> bool {
        let _ = at;
        false
    }

    /// Returns what the machine holds for octets that it received, for law 14.
    ///
    /// A number in a datagram costs its sender nothing, so it must not allocate memory. What was allocated when the
    /// machine was made and what came with commands does not count. The default holds nothing.
    fn memory_for_input(&self) -> InputMemory {
        InputMemory::default()
    }

    /// Returns the largest number of outputs of one drain, for law 1.
    ///
    /// Every output has a cause: a call, an octet received, or a byte of state. The default allows 16 for a
    /// call and 4 for each of the others, which suits sends of one octet and a protocol that frames every
    /// octet.
    #[must_use]
    fn max_outputs(input: DrainInput) -> usize {
        let weight = input.octets.saturating_add(input.memory).saturating_mul(4);
        input
            .calls
            .saturating_mul(16)
            .saturating_add(weight)
            .saturating_add(64)
    }

    /// Returns the largest number of events that time alone may yield, for law 1.
    ///
    /// Such an event reports the end of something in memory, of which the smallest is a word of 8 bytes. What
    /// recurs without end, such as a keepalive, is no event.
    #[must_use]
    fn max_events(input: DrainInput) -> usize {
        (input.memory / 8).saturating_add(64)
    }

    /// Returns the series of an event, for law 9: whom it is for, where a machine serves many at once.
    ///
    /// Events of one series keep their order, however a stream is chunked. A machine with a queue for each connection or
    /// port may mix those of several series otherwise when it is polled between two chunks. The default has one series.
    #[must_use]
    fn series(event: &Self::Event) -> u64 {
        let _ = event;
        0
    }

    /// Returns the address of a path that the driver opened, with the real local port.
    ///
    /// `nth` is the number of paths opened before. The default returns `path` unchanged.
    #[must_use]
    fn bound(path: Self::Addr, nth: usize) -> Self::Addr {
        let _ = nth;
        path
    }

    /// Maps an address of a script to one of this run.
    ///
    /// Scripts are generated with arbitrary addresses, before the machine opens its sockets. A machine that
    /// knows few addresses, or opens paths itself, maps them to those here, or few steps of a script would
    /// concern one address. The default returns `at` unchanged.
    #[must_use]
    fn route(at: Self::Addr, opened: &[Self::Addr]) -> Self::Addr {
        let _ = opened;
        at
    }

    /// Generates the octets of one receive.
    ///
    /// The default generates arbitrary ones. A protocol with checksums or long headers mixes valid packets in,
    /// since it would drop all others at once.
    ///
    /// # Errors
    ///
    /// The errors of `arbitrary`.
    #[cfg(feature = "arbitrary")]
    fn arbitrary_octets(
        config: &Self::Config,
        u: &mut arbitrary::Unstructured<'_>,
    ) -> arbitrary::Result<alloc::vec::Vec<u8>> {
        let _ = config;
        super::generate::any_octets(u)
    }
}

/// What a machine holds for octets that it received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InputMemory {
    /// Bytes of memory, with all bookkeeping, in use or not.
    pub octets: usize,
    /// Sessions that are open or remembered: exchanges that a datagram of the peer began. A stream is one.
    pub sessions: usize,
    /// Sessions of which a second segment came.
    pub continued: usize,
}

/// The input of a machine since it was last idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DrainInput {
    /// Number of receives, cues and commands.
    pub calls: usize,
    /// Octets received.
    pub octets: usize,
    /// The most bytes that the machine had allocated since, those that came with commands included.
    pub memory: usize,
}
