//! Arbitrary configurations, commands and segments. They use few values, so that they refer to each other.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::num::{NonZeroU32, NonZeroU64};
use core::slice;
use core::time::Duration;

use arbitrary::{Arbitrary, Result, Unstructured};
use bytes::Bytes;

use super::api::{Block, Command, Red};
use super::auth::{Auth, Key, Signer, Verifier};
use super::beyond::{AdaptiveRedundancy, Flow, Redundancy, RtoBounds};
use super::config::{Config, Direction, EngineLimits, Peer, PeerLimits, PeerTimers};
use super::wire::{
    Body, Checkpoint, Claims, Color, Data, Extensions, Mark, Report, Segment, SessionId,
};

impl<'a> Arbitrary<'a> for Config {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self {
            engine: u.int_in_range(0..=3)?,
            numbers: u.arbitrary()?,
            hello: u.arbitrary()?,
            notify_sent: u.arbitrary()?,
            limits: EngineLimits {
                peers: u.int_in_range(0..=4)?,
                services: u.int_in_range(0..=3)?,
                exports: u.int_in_range(0..=12)?,
                imports: u.int_in_range(0..=12)?,
                export_octets: u.int_in_range(0..=20_000)?,
                import_octets: u.int_in_range(0..=40_000)?,
                stranger_octets: u.int_in_range(0..=20_000)?,
                pool_octets: u.int_in_range(0..=20_000)?,
                events: u.int_in_range(0..=24)?,
                control_segments: u.int_in_range(0..=24)?,
                closed_sessions: u.int_in_range(0..=16)?,
                cookies: u.int_in_range(0..=3)?,
            },
        })
    }
}

impl<'a, A: Arbitrary<'a>> Arbitrary<'a> for Peer<A> {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self {
            address: u.arbitrary()?,
            flow: u.arbitrary()?,
            segment: u.int_in_range(60..=1500)?,
            checkpoint_every: NonZeroU32::new(u.int_in_range(0..=4)?),
            redundancy: u.arbitrary()?,
            direction: if u.ratio(1, 4)? {
                u.arbitrary()?
            } else {
                Direction::Both
            },
            roams: u.ratio(1, 4)?,
            auth: u.arbitrary()?,
            timers: PeerTimers {
                owlt_out: duration(u)?,
                owlt_in: duration(u)?,
                remote_delay: duration(u)?,
                own_delay: duration(u)?,
                rto: u.arbitrary()?,
                report_delay: duration(u)?,
                repair_delay: duration(u)?,
                keepalive: u
                    .ratio(1, 8)?
                    .then_some(Duration::from_secs(u.int_in_range(0..=60)?)),
                ..PeerTimers::default()
            },
            limits: PeerLimits {
                exports: u.int_in_range(0..=12)?,
                imports: u.int_in_range(0..=12)?,
                session_octets: u.int_in_range(0..=8000)?,
                import_octets: u.int_in_range(0..=30_000)?,
                checkpoint_retries: u.int_in_range(0..=3)?,
                report_retries: u.int_in_range(0..=3)?,
                cancel_retries: u.int_in_range(0..=3)?,
                problems: u.int_in_range(0..=20)?,
                cycles: u.int_in_range(0..=10)?,
            },
        })
    }
}

impl<'a> Arbitrary<'a> for Flow {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let rate = NonZeroU64::new(u.int_in_range(0..=10_000)?);
        let octets = NonZeroU64::new(u.int_in_range(0..=6000)?);
        let burst = u.int_in_range(0..=2000)?;
        Ok(match (u.int_in_range(0..=2)?, rate, octets) {
            (0, Some(octets_per_second), _) => Self::Rate {
                octets_per_second,
                burst: (burst % 4 != 0).then_some(burst),
            },
            (1, octets_per_second, Some(octets)) => Self::Window {
                octets,
                octets_per_second,
            },
            (2, ..) => Self::Auto,
            _ => Self::Unlimited,
        })
    }
}

impl<'a> Arbitrary<'a> for Redundancy {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(if u.ratio(1, 3)? {
            Self::Adaptive(u.arbitrary()?)
        } else {
            Self::Fixed(u.int_in_range(0..=2)?)
        })
    }
}

impl<'a> Arbitrary<'a> for AdaptiveRedundancy {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self {
            odds: NonZeroU32::MIN.saturating_add(u.int_in_range(0..=10_000)?),
            max_copies: u.int_in_range(0..=3)?,
            initial_loss: u.int_in_range(0..=1_000_000)?,
            spacing: duration(u)?,
            duplicate_repairs: u.int_in_range(0..=2)?,
        })
    }
}

impl<'a> Arbitrary<'a> for RtoBounds {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self {
            min: duration(u)?,
            max: duration(u)?,
        })
    }
}

/// A duration that is 0 half of the time.
fn duration(u: &mut Unstructured<'_>) -> Result<Duration> {
    let most = *u.choose(&[0, 0, 50, 60_000])?;
    Ok(Duration::from_millis(u.int_in_range(0..=most)?))
}

impl<'a> Arbitrary<'a> for Auth {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match u.int_in_range(0..=15)? {
            0 => Self::null(),
            1 => Self::hmac_sha1(key(u)?),
            2 => Self {
                send: keys(u, Signer::Null, Signer::HmacSha1)?,
                accept: keys(u, Verifier::Null, Verifier::HmacSha1)?,
            },
            _ => Self::OFF,
        })
    }
}

/// No keys to three, most of them shared ones.
fn keys<T: Clone>(u: &mut Unstructured<'_>, null: T, hmac: fn(Key) -> T) -> Result<Vec<T>> {
    let count = u.int_in_range(0..=3)?;
    let one = |_| {
        Ok(if u.ratio(1, 4)? {
            null.clone()
        } else {
            hmac(key(u)?)
        })
    };
    (0..count).map(one).collect()
}

/// One of a few keys, so that segments find them, or any key.
fn key(u: &mut Unstructured<'_>) -> Result<Key> {
    let id = u.int_in_range(0..=3_u8)?;
    Ok(Key {
        id: match id {
            0 => octets_of(u)?,
            id => Bytes::copy_from_slice(&[id]),
        },
        secret: if u.ratio(1, 8)? {
            octets_of(u)?
        } else {
            Bytes::from_static(b"secret")
        },
    })
}

fn octets_of(u: &mut Unstructured<'_>) -> Result<Bytes> {
    <&[u8]>::arbitrary(u).map(Bytes::copy_from_slice)
}

impl<'a> Arbitrary<'a> for Block {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self {
            tag: crate::Tag(u.int_in_range(0..=5)?),
            to: u.int_in_range(1..=3)?,
            client: u.int_in_range(1..=3)?,
            // Long blocks of one octet value cost the generator nothing.
            data: Bytes::from(vec![0x5A; u.int_in_range(0..=6000)?]),
            red: match u.arbitrary()? {
                Red::All => Red::All,
                Red::Octets(red) => Red::Octets(red % 7000),
            },
        })
    }
}

impl<'a, A: Arbitrary<'a>> Arbitrary<'a> for Command<A> {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let id = u.int_in_range(0..=3)?;
        let tag = crate::Tag(u.int_in_range(0..=5)?);
        Ok(match u.int_in_range(0..=30)? {
            0..=4 => Self::AddPeer(id, Box::new(u.arbitrary()?)),
            5 => Self::ChangePeer(id, Box::new(u.arbitrary()?)),
            6 => Self::RemovePeer(id),
            7..=9 | 16 | 17 => Self::Open(id, u.arbitrary()?),
            10 => Self::Close(id),
            11 => Self::Checkpoint(tag),
            12 => Self::Cancel(tag),
            13 if u.ratio(1, 2)? => Self::Stored(session(u)?),
            13 => Self::Refuse(session(u)?),
            25 => Self::Ping(id),
            26 => Self::AcceptUnknownPeers(u.arbitrary()?, u.int_in_range(0..=3)?),
            14..=15 => Self::Contact(id, u.arbitrary()?),
            24 => Self::OpenOnDemand(id, u.arbitrary()?),
            27..=29 => Self::Take(id),
            30 => Self::Untake(id),
            _ => Self::Send(u.arbitrary()?),
        })
    }
}

fn session(u: &mut Unstructured<'_>) -> Result<SessionId> {
    Ok(SessionId {
        originator: u.int_in_range(1..=3)?,
        number: u.int_in_range(0..=6)?,
    })
}

/// A segment of a few sessions, or any octets.
pub(super) fn octets(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    if u.ratio(1, 16)? {
        return octets_of(u).map(Into::into);
    }
    let data = vec![0xA5; u.int_in_range(0..=40)?];
    let serial = u.int_in_range(1..=6)?;
    let start = u.int_in_range(0..=200)?;
    let end = start + u.int_in_range(1..=200)?;
    let claim = start..start + 1 + u.int_in_range(0..=end - start - 1)?;
    let body = match u.int_in_range(0..=15)? {
        0 => Body::Report(Report {
            serial,
            checkpoint: u.int_in_range(0..=6)?,
            scope: (start..end).into(),
            claims: Claims::new(slice::from_ref(&claim)),
        }),
        1 => Body::ReportAck(1 + u.int_in_range(0..=16_384)?),
        2 => Body::CancelBySender(u.arbitrary()?),
        3 => Body::CancelByReceiver(u.arbitrary()?),
        4 => Body::CancelAckToReceiver,
        5 => Body::CancelAckToSender,
        _ => Body::Data(Data {
            client: u.int_in_range(1..=2)?,
            offset: u.int_in_range(0..=120)?,
            color: color(u, serial)?,
            octets: &data,
        }),
    };
    let (header, trailer) = match u.int_in_range(0..=7)? {
        0 => extensions(u)?,
        _ => (Vec::new(), Vec::new()),
    };
    let mut octets = Vec::new();
    let segment = Segment {
        header: Extensions::new(&header).unwrap_or_default(),
        trailer: Extensions::new(&trailer).unwrap_or_default(),
        ..Segment::new(session(u)?, body)
    };
    segment.encode(&mut octets);
    Ok(octets)
}

/// Extensions with the IDs of keys that [`key`] makes, with values for them, and with cookies that grow.
fn extensions(u: &mut Unstructured<'_>) -> Result<(Vec<u8>, Vec<u8>)> {
    let (mut header, mut trailer) = (Vec::new(), Vec::new());
    for _ in 0..u.int_in_range(0..=2)? {
        let id = u.int_in_range(1..=3)?;
        match u.int_in_range(0..=3)? {
            0 => header.extend_from_slice(&[0, 1, 255]),
            1 => header.extend_from_slice(&[0, 2, 0, id]),
            2 => header.extend_from_slice(&[1, 1, id]),
            _ => header.extend_from_slice(&[1, 3, id, id, id]),
        }
    }
    for _ in 0..u.int_in_range(0..=2)? {
        trailer.extend_from_slice(&[0, 10, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    }
    Ok((header, trailer))
}

fn color(u: &mut Unstructured<'_>, serial: u64) -> Result<Color> {
    let mark = match u.int_in_range(0..=9)? {
        0..=3 => return Ok(Color::Red(None)),
        4 => Mark::None,
        5 => Mark::RedPart,
        6..=7 => Mark::Block,
        other => {
            return Ok(Color::Green {
                ends_block: other == 9,
            });
        }
    };
    Ok(Color::Red(Some(Checkpoint {
        serial,
        report: u.int_in_range(0..=3)?,
        mark,
    })))
}
