//! Scripts out of arbitrary octets.

use alloc::vec::Vec;
use core::time::Duration;

use arbitrary::{Arbitrary, Result, Unstructured};

use super::{Case, Step, Subject};
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
        step(u, A::arbitrary, any_octets)
    }
}

impl<'a, M> Arbitrary<'a> for Case<M>
where
    M: Subject<Config: Arbitrary<'a>>,
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
        while script.len() < most_steps && !u.is_empty() {
            let address = |u: &mut Unstructured<'a>| u.choose(&addresses).copied();
            let octets = |u: &mut Unstructured<'a>| M::arbitrary_octets(&config, u);
            script.push(step(u, address, octets)?);
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
    M: Subject<Addr: Arbitrary<'a>>,
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

/// Inputs and drains in about the mix of a busy driver, with the rare ones rare.
fn step<'a, A, C: Arbitrary<'a>>(
    u: &mut Unstructured<'a>,
    address: impl FnOnce(&mut Unstructured<'a>) -> Result<A>,
    octets: impl FnOnce(&mut Unstructured<'a>) -> Result<Vec<u8>>,
) -> Result<Step<A, C>> {
    Ok(match u.int_in_range(0..=63_u8)? {
        0..=17 => Step::Receive {
            from: address(u)?,
            octets: octets(u)?,
        },
        18..=33 => Step::Drain,
        34..=43 => Step::Command(u.arbitrary()?),
        44..=49 => Step::Wake,
        50..=52 => Step::Wait(span(u)?),
        53..=57 => Step::Link {
            at: address(u)?,
            state: cue(u)?,
        },
        58..=59 => Step::Answer {
            open: u.arbitrary()?,
            failed: u.arbitrary::<Option<Cause>>()?,
        },
        60..=61 => Step::Poll,
        62 => Step::Back(span(u)?),
        _ => Step::Flood {
            from: address(u)?,
            octets: octets(u)?,
        },
    })
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
