//! Configuration of NATs, in the terms of RFC 4787 and RFC 5382.

use core::ops::RangeInclusive;
use core::time::Duration;

/// The behaviour of a NAT. The default meets every MUST of RFC 4787 and RFC 5382, and their recommendations.
/// Where those leave a choice between transparency and strictness, it is transparent.
///
/// ```
/// use farlink::sim::{Hairpin, Ip, Nat, Ports, World};
///
/// let mut world = World::new(1);
/// let step = Ports::Sequential { first: 1024, step: 2 };
/// let carrier = world.nat(Ip::at([198, 51, 100, 1]), Nat { ports: step, ..Nat::symmetric() });
/// let home = Nat { hairpin: Hairpin::Off, ..Nat::port_restricted_cone() };
/// let home = world.nat(Ip::at([100, 64, 0, 1]).behind(carrier), home);
/// # let _ = home;
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nat {
    /// What is translated: addresses and ports, or nothing (a firewall).
    pub translation: Translation,
    /// When a mapping is reused (RFC 4787 section 4.1).
    pub mapping: Mapping,
    /// When a mapping is reused for TCP (RFC 5382 section 4.1). `None` means as for UDP.
    pub tcp_mapping: Option<Mapping>,
    /// Which packets from outside are let in (RFC 4787 section 5).
    pub filtering: Filtering,
    /// Which TCP segments from outside are let in (RFC 5382 section 4.3). `None` means as for UDP.
    pub tcp_filtering: Option<Filtering>,
    /// How external ports are chosen (RFC 4787 section 4.2).
    pub ports: Ports,
    /// The range of external ports.
    pub range: RangeInclusive<u16>,
    /// Whether the parity of ports is kept (RFC 4787 section 4.2.2). It applies to ports that are chosen, not
    /// to those computed from the inner port.
    pub parity: Parity,
    /// How one of several external addresses is chosen (RFC 4787 section 4.1).
    pub pooling: Pooling,
    /// The lifetime of an unused UDP mapping (RFC 4787 REQ-5).
    pub udp_lifetime: Duration,
    /// The lifetime of an idle TCP connection that was opened on both sides (RFC 5382 REQ-5).
    pub tcp_lifetime: Duration,
    /// The lifetime of an idle TCP connection that is half open or closing (RFC 5382 REQ-5).
    pub tcp_transitory: Duration,
    /// Which packets refresh a UDP mapping (RFC 4787 REQ-6).
    pub refresh: Refresh,
    /// How packets from behind the NAT to an external address of it are handled (RFC 4787 section 6).
    pub hairpin: Hairpin,
    /// How an unsolicited SYN is answered (RFC 5382 REQ-4).
    pub unsolicited: Unsolicited,
    /// How a segment of an unknown connection is answered (RFC 5382 section 5).
    pub stray: Stray,
    /// Whether a simultaneous open passes (RFC 5382 REQ-2).
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
    /// Creates a full cone NAT (RFC 3489): one mapping for all remote sockets, and everything is let in.
    #[must_use]
    pub fn full_cone() -> Self {
        Self::of(Mapping::EndpointIndependent, Filtering::EndpointIndependent)
    }

    /// Creates a restricted cone NAT (RFC 3489): one mapping for all remote sockets, and addresses that were
    /// sent to are let in.
    #[must_use]
    pub fn restricted_cone() -> Self {
        Self::of(Mapping::EndpointIndependent, Filtering::AddressDependent)
    }

    /// Creates a port restricted cone NAT (RFC 3489): one mapping for all remote sockets, and sockets that
    /// were sent to are let in.
    #[must_use]
    pub fn port_restricted_cone() -> Self {
        Self::of(
            Mapping::EndpointIndependent,
            Filtering::AddressAndPortDependent,
        )
    }

    /// Creates a symmetric NAT (RFC 3489) with random ports: a mapping for each remote socket, and only that
    /// socket is let in.
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

    /// Creates a firewall: nothing is translated, and sockets that were sent to are let in.
    #[must_use]
    pub fn firewall() -> Self {
        Self {
            translation: Translation::Nothing,
            ..Self::port_restricted_cone()
        }
    }

    /// Creates a NAT with these behaviours and the default for the rest.
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
    /// Nothing. Hosts behind it have addresses of the outer network, and packets are only filtered.
    Nothing,
}

/// When the mapping of an inner socket is reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Mapping {
    /// For packets to all remote sockets.
    #[default]
    EndpointIndependent,
    /// For packets to the same remote address.
    AddressDependent,
    /// For packets to the same remote socket.
    AddressAndPortDependent,
    /// Never: each TCP connection has its own mapping. For UDP, as `AddressAndPortDependent`.
    ConnectionDependent,
}

/// Which packets from outside a mapping lets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Filtering {
    /// All packets.
    #[default]
    EndpointIndependent,
    /// Packets from remote addresses to which the inner socket has sent.
    AddressDependent,
    /// Packets from remote sockets to which the inner socket has sent.
    AddressAndPortDependent,
    /// For TCP, no connection from outside, except in a simultaneous open. For UDP, as
    /// `AddressAndPortDependent`.
    ConnectionDependent,
}

/// How external ports are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ports {
    /// The inner port, if it is free on the external address.
    Preserving(Conflict),
    /// From `first` on, each `step` after the port given last on that address, modulo the range. Ports in use
    /// are skipped.
    Sequential {
        /// The first port.
        first: u16,
        /// The distance between ports, which may be negative.
        step: i32,
    },
    /// A random free port.
    Random,
    /// The inner port times `stride` plus `offset`, modulo the range, or the next free port. A stride of 1
    /// preserves the distance of neighbouring ports (RFC 4787 section 4.2.3).
    Contiguous {
        /// The factor.
        stride: u16,
        /// The summand.
        offset: i32,
    },
}

impl Default for Ports {
    fn default() -> Self {
        Self::Preserving(Conflict::NextFree)
    }
}

/// What a port-preserving NAT does if the port is in use (RFC 4787 section 4.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Conflict {
    /// It chooses the next free port.
    #[default]
    NextFree,
    /// It chooses a random free port.
    Random,
    /// It removes the mapping that has the port.
    Overwrite,
    /// It uses the port for both, and tells them apart by the remote socket (port overloading).
    Overload,
}

/// Whether external ports keep the parity of inner ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Parity {
    /// Even ports are mapped to even ones, odd ports to odd ones.
    #[default]
    Kept,
    /// Any port is chosen.
    Ignored,
}

/// How one of several external addresses is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pooling {
    /// All mappings of an inner address have the same external address.
    #[default]
    Paired,
    /// Each mapping has a random external address.
    Arbitrary,
}

/// Which packets refresh a UDP mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Refresh {
    /// Packets that are sent out.
    #[default]
    Outbound,
    /// Packets that come in.
    Inbound,
    /// All packets.
    Both,
}

/// How packets from behind the NAT to an external address of it are handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Hairpin {
    /// They are delivered with the sender's external socket as source (REQ-9a).
    #[default]
    ExternalSource,
    /// They are delivered with the sender's inner socket as source.
    InternalSource,
    /// They are dropped.
    Off,
}

/// How an unsolicited SYN is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unsolicited {
    /// Not at all.
    #[default]
    Silent,
    /// With RST after this time, unless a SYN was sent out for the same connection meanwhile. RFC 5382 REQ-4
    /// allows no less than 6 seconds. Zero breaks hole punching.
    Reset(Duration),
}

/// How a segment of an unknown connection is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stray {
    /// Not at all.
    #[default]
    Silent,
    /// With RST.
    Reset,
}

/// Whether a simultaneous open passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SimultaneousOpen {
    /// It passes (REQ-2a).
    #[default]
    Passes,
    /// A SYN that comes in after one was sent out is dropped.
    InboundSynBlocked,
    /// The SYN with ACK that is sent out in answer is dropped.
    OutboundSynAckBlocked,
}
