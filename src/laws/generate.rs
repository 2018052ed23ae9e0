//! Scripts out of arbitrary octets.

use alloc::vec::Vec;
use core::time::Duration;

use arbitrary::{Arbitrary, Result, Unstructured};

use super::{Case, LawSubject, Step};
use crate::{Cause, Limits, Link};

/// Most steps of one script, as a power of two. Longer ones find nothing that these do not.
const MOST_STEPS: u32 = 8;
/// Addresses of one script: few, or no two steps would ever meet.
const MOST_ADDRESSES: usize = 4;
/// Longest single wait, as a power of two of nanoseconds: 19 hours.
const LONGEST_WAIT: u32 = 46;
/// Most octets of one receive, as a power of two.
const LONGEST_RECEIVE: u32 = 12;

impl<'a, A: Arbitrary<'a>, C: Arbitrary<'a>> Arbitrary<'a> for Step<A, C> {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        step(u, &BUSY, A::arbitrary, any_octets)
    }
}

impl<'a, M> Arbitrary<'a> for Case<M>
where
    M: LawSubject<Config: Arbitrary<'a>>,
    M::Addr: Arbitrary<'a>,
    M::Command: Arbitrary<'a>,
{
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let config = M::Config::arbitrary(u)?;
        let seed = u.arbitrary()?;
        let limits = limits(u)?;
        let addresses = addresses::<M>(u)?;
        let mut script = Vec::new();
        for &at in &addresses {
            if u.ratio(7, 8)? {
                script.push(Step::Link {
                    at,
                    state: Link::Up,
                });
            }
        }
        // Short ones too: a long life seldom ends with everything still going on.
        let most_steps = 1_usize << u.int_in_range(0..=MOST_STEPS)?;
        let mix = mix(u)?;
        while script.len() < most_steps && !u.is_empty() {
            let address = |u: &mut Unstructured<'a>| u.choose(&addresses).copied();
            let octets = |u: &mut Unstructured<'a>| M::arbitrary_octets(&config, u);
            script.push(step(u, &mix, address, octets)?);
        }
        Ok(Self {
            config,
            seed,
            limits,
            script,
        })
    }
}

fn addresses<'a, M>(u: &mut Unstructured<'a>) -> Result<Vec<M::Addr>>
where
    M: LawSubject<Addr: Arbitrary<'a>>,
{
    let count = u.int_in_range(1..=MOST_ADDRESSES)?;
    let mut addresses = (0..count)
        .map(|_| Ok(M::route(u.arbitrary()?, &[])))
        .collect::<Result<Vec<_>>>()?;
    addresses.sort_unstable();
    addresses.dedup();
    Ok(addresses)
}

/// The usual limits, very small ones, and any.
fn limits(u: &mut Unstructured<'_>) -> Result<Limits> {
    Ok(match u.int_in_range(0..=3)? {
        0 => Limits::default(),
        1 => Limits::single(u.int_in_range(1..=64)?),
        _ => Limits::new(
            u.int_in_range(1..=2000)?,
            u.int_in_range(1..=8)?,
            u.int_in_range(1..=4000)?,
        ),
    })
}

/// How often each kind of step comes, in the order of [`step`].
type Mix = [u16; 10];

/// The mix of a busy driver, with the rare ones rare.
const BUSY: Mix = [18, 16, 10, 6, 3, 5, 2, 2, 1, 1];

/// Half the scripts are lopsided: they lack some kinds, and of others they are full. What is rare meets what
/// is rare in them, and what nothing drains or answers piles up.
fn mix(u: &mut Unstructured<'_>) -> Result<Mix> {
    let mut mix = BUSY;
    if u.arbitrary()? {
        for weight in &mut mix {
            *weight = u.choose(&[0, *weight, *weight, 20]).copied()?;
        }
    }
    Ok(mix)
}

fn step<'a, A, C: Arbitrary<'a>>(
    u: &mut Unstructured<'a>,
    mix: &Mix,
    address: impl FnOnce(&mut Unstructured<'a>) -> Result<A>,
    octets: impl FnOnce(&mut Unstructured<'a>) -> Result<Vec<u8>>,
) -> Result<Step<A, C>> {
    Ok(match kind(u, mix)? {
        0 => Step::Receive {
            from: address(u)?,
            octets: octets(u)?,
        },
        1 => Step::Drain,
        2 => Step::Command(u.arbitrary()?),
        3 => Step::Wake,
        4 => Step::Wait(span(u)?),
        5 => Step::Link {
            at: address(u)?,
            state: cue(u)?,
        },
        6 => Step::Answer {
            open: u.arbitrary()?,
            failed: u.arbitrary::<Option<Cause>>()?,
        },
        7 => Step::Poll,
        8 => Step::Back(span(u)?),
        _ => Step::Flood {
            from: address(u)?,
            octets: octets(u)?,
        },
    })
}

fn kind(u: &mut Unstructured<'_>, mix: &Mix) -> Result<usize> {
    let most = mix.iter().sum::<u16>().saturating_sub(1);
    let mut place = u.int_in_range(0..=most)?;
    for (kind, weight) in mix.iter().enumerate() {
        match place.checked_sub(*weight) {
            Some(rest) => place = rest,
            None => return Ok(kind),
        }
    }
    Ok(0)
}

/// A stall and its end come often in a life, an end once.
fn cue(u: &mut Unstructured<'_>) -> Result<Link> {
    Ok(match u.int_in_range(0..=7_u8)? {
        0..=1 => Link::Full,
        2..=3 => Link::Free,
        4 => Link::Up,
        _ => u.arbitrary()?,
    })
}

/// Every order of magnitude is as likely as the others.
fn span(u: &mut Unstructured<'_>) -> Result<Duration> {
    let scale = u.int_in_range(0..=LONGEST_WAIT)?;
    Ok(Duration::from_nanos(u.int_in_range(0..=1_u64 << scale)?))
}

/// Short and long runs of any octets. `Vec::arbitrary` gives two octets on average.
pub(super) fn any_octets(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let scale = u.int_in_range(0..=LONGEST_RECEIVE)?;
    let len = u.int_in_range(0..=1_usize << scale)?.min(u.len());
    u.bytes(len).map(<[u8]>::to_vec)
}
