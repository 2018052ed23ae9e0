//! What a NAT does, by the words of RFC 4787 and RFC 5382: configuration only.

use core::ops::RangeInclusive;
use core::time::Duration;

/// The behaviour of a NAT. The default keeps every MUST of RFC 4787 and RFC 5382, and every RECOMMENDED
/// that is not about the choice between transparency and strictness, where it is transparent.
///
/// ```
/// use farlink::sim::{Hairpin, Ip, Nat, Ports, World};
///
/// let mut world = World::new(1);
/// let step = Ports::Sequential { first: 1024, step: 2 };
/// let kind = world.nat(Ip::at([198, 51, 100, 1]), Nat { ports: step, ..Nat::symmetric() });
/// let home = Nat { hairpin: Hairpin::Off, ..Nat::port_restricted_cone() };
/// let home = world.nat(Ip::at([100, 64, 0, 1]).behind(kind), home);
/// # let _ = home;
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nat {
    /// What is translated: addresses and ports, or nothing (a firewall).
    pub translation: Translation,
    /// When a mapping is used again (RFC 4787 section 4.1).
    pub mapping: Mapping,
    /// The same for TCP (RFC 5382 section 4.1), where it differs.
    pub tcp_mapping: Option<Mapping>,
    /// Whom a mapping lets in (RFC 4787 section 5).
    pub filtering: Filtering,
    /// The same for TCP (RFC 5382 section 4.3), where it differs.
    pub tcp_filtering: Option<Filtering>,
    /// How ports are chosen (RFC 4787 section 4.2).
    pub ports: Ports,
    /// Between which bounds they are chosen.
    pub range: RangeInclusive<u16>,
    /// Whether even ports get even ones (RFC 4787 section 4.2.2). Counts for chosen ports, not for those
    /// that follow from the inner one.
    pub parity: Parity,
    /// How one of several external addresses is chosen (RFC 4787 section 4.1).
    pub pooling: Pooling,
    /// How long an unused UDP mapping lives (RFC 4787 REQ-5).
    pub udp_lifetime: Duration,
    /// How long an idle TCP connection lives that was opened on both sides (RFC 5382 REQ-5).
    pub tcp_lifetime: Duration,
    /// How long an idle TCP connection lives that is half open or closing (RFC 5382 REQ-5).
    pub tcp_transitory: Duration,
    /// Which packets keep a UDP mapping alive (RFC 4787 REQ-6).
    pub refresh: Refresh,
    /// What comes of packets from inside to an external address of the NAT (RFC 4787 section 6).
    pub hairpin: Hairpin,
    /// What is answered to a SYN that nobody asked for (RFC 5382 REQ-4).
    pub unsolicited: Unsolicited,
    /// What is answered to a segment of a connection that the NAT does not know (RFC 5382 section 5).
    pub stray: Stray,
    /// Whether two SYNs may cross (RFC 5382 REQ-2).
    pub simultaneous_open: SimultaneousOpen,
}

impl Default for Nat {
    fn default() -> Self {
        Self {
            translation: Translation::default(),
            mapping: Mapping::default(),
            tcp_mapping: None,
            filtering: Filtering::default(),
            tcp_filtering: None,
            ports: Ports::default(),
            range: 1024..=u16::MAX,
            parity: Parity::default(),
            pooling: Pooling::default(),
            udp_lifetime: Duration::from_secs(300),
            tcp_lifetime: Duration::from_secs(7440),
            tcp_transitory: Duration::from_secs(240),
            refresh: Refresh::default(),
            hairpin: Hairpin::default(),
            unsolicited: Unsolicited::default(),
            stray: Stray::default(),
            simultaneous_open: SimultaneousOpen::default(),
        }
    }
}

impl Nat {
    /// Makes a full cone, in the words of RFC 3489: one mapping for all, open to all.
    #[must_use]
    pub fn full_cone() -> Self {
        Self::of(Mapping::EndpointIndependent, Filtering::EndpointIndependent)
    }

    /// Makes a restricted cone (RFC 3489): one mapping for all, open to hosts that were written to.
    #[must_use]
    pub fn restricted_cone() -> Self {
        Self::of(Mapping::EndpointIndependent, Filtering::AddressDependent)
    }

    /// Makes a port restricted cone (RFC 3489): one mapping for all, open to sockets that were written to.
    #[must_use]
    pub fn port_restricted_cone() -> Self {
        Self::of(
            Mapping::EndpointIndependent,
            Filtering::AddressAndPortDependent,
        )
    }

    /// Makes a symmetric NAT (RFC 3489) that draws its ports at random: a mapping for each remote socket,
    /// open to it alone.
    #[must_use]
    pub fn symmetric() -> Self {
        Self {
            ports: Ports::Random,
            ..Self::of(
                Mapping::AddressAndPortDependent,
                Filtering::AddressAndPortDependent,
            )
        }
    }

    /// Makes a firewall: nothing is translated, and only those who were written to get in.
    #[must_use]
    pub fn firewall() -> Self {
        Self {
            translation: Translation::Nothing,
            ..Self::port_restricted_cone()
        }
    }

    /// Takes a mapping and a filtering behaviour, and the default for the rest.
    #[must_use]
    pub fn of(mapping: Mapping, filtering: Filtering) -> Self {
        Self {
            mapping,
            filtering,
            ..Self::default()
        }
    }
}

/// What a NAT translates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Translation {
    /// Inner sockets to sockets of its external addresses.
    #[default]
    Sockets,
    /// Nothing: hosts behind it have addresses of the outer network, and it only filters.
    Nothing,
}

/// When a mapping of an inner socket is used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Mapping {
    /// Always.
    #[default]
    EndpointIndependent,
    /// For packets to the same remote address.
    AddressDependent,
    /// For packets to the same remote socket.
    AddressAndPortDependent,
    /// Never: each TCP connection has its own. Of UDP, as for the same remote socket.
    ConnectionDependent,
}

/// Whom a mapping lets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Filtering {
    /// Everybody.
    #[default]
    EndpointIndependent,
    /// Remote addresses to which the inner socket has sent through it.
    AddressDependent,
    /// Remote sockets to which the inner socket has sent through it.
    AddressAndPortDependent,
    /// For TCP, nobody who begins, save in a simultaneous open. Of UDP, as the one before.
    ConnectionDependent,
}

/// How external ports are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ports {
    /// The inner port, if it is free on the external address.
    Preserving(Conflict),
    /// From a first one on, each `step` behind the last one given on that address, going round in the
    /// range. Taken ones are passed by.
    Sequential {
        /// The first.
        first: u16,
        /// The distance, which may be negative.
        step: i32,
    },
    /// Any that is free, each as likely.
    Random,
    /// The inner port times `stride` plus `offset`, going round in the range. With a stride of 1 distances
    /// are kept (RFC 4787 section 4.2.3); with more, neighbours get ports that far apart. If it is taken,
    /// the next free one.
    Contiguous {
        /// The distance of neighbours.
        stride: u16,
        /// What is added.
        offset: i32,
    },
}

impl Default for Ports {
    fn default() -> Self {
        Self::Preserving(Conflict::NextFree)
    }
}

/// What a port-preserving NAT does when the port is taken (RFC 4787 section 4.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Conflict {
    /// It takes the next free one.
    #[default]
    NextFree,
    /// It takes a random free one.
    Random,
    /// It takes the port away from whom it belonged to.
    Overwrite,
    /// It gives the port to both and tells them apart by the remote socket (port overloading).
    Overload,
}

/// Whether even ports get even ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Parity {
    /// Even ports get even ones and odd ports odd ones.
    #[default]
    Kept,
    /// Any port may do.
    Ignored,
}

/// How one of several external addresses is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pooling {
    /// Mappings of one inner address get the same external one.
    #[default]
    Paired,
    /// Each mapping gets any.
    Arbitrary,
}

/// Which packets keep a UDP mapping alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Refresh {
    /// Those that go out.
    #[default]
    Outbound,
    /// Those that come in.
    Inbound,
    /// All.
    Both,
}

/// What comes of packets from inside to an external address of the NAT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Hairpin {
    /// They are turned round, and seem to come from the sender's external socket (REQ-9a).
    #[default]
    ExternalSource,
    /// They are turned round, and seem to come from the sender's inner socket.
    InternalSource,
    /// They are dropped.
    Off,
}

/// What a NAT answers to a SYN that nobody asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unsolicited {
    /// Nothing.
    #[default]
    Silent,
    /// RST after this time, unless a SYN went out for the same connection meanwhile. RFC 5382 REQ-4 allows
    /// no less than 6 seconds; at once breaks hole punching.
    Reset(Duration),
}

/// What a NAT answers to a segment of a connection that it does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stray {
    /// Nothing.
    #[default]
    Silent,
    /// RST.
    Reset,
}

/// Whether two SYNs may cross.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SimultaneousOpen {
    /// They may (REQ-2a).
    #[default]
    Passes,
    /// A SYN that comes in after one went out is dropped.
    InboundSynBlocked,
    /// The SYN with ACK that goes out in answer is dropped.
    OutboundSynAckBlocked,
}
