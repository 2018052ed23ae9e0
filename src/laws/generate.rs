//! Generates scripts from arbitrary octets.

use alloc::vec::Vec;
use core::time::Duration;

use arbitrary::{Arbitrary, Result, Unstructured};

use super::{Case, LawSubject, Step};
use crate::{Cause, Limits, Link};

/// Most steps of one script, as a power of two. Longer scripts find no more violations.
const MAX_STEPS: u32 = 8;
/// Most addresses of one script. With more, hardly any two steps would concern one address.
const MAX_ADDRESSES: usize = 4;
/// Longest single wait, as a power of two in nanoseconds: 19 hours.
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
        // Short ones too: a long script seldom ends with everything still in progress.
        let max_steps = 1_usize << u.int_in_range(0..=MAX_STEPS)?;
        let weights = weights(u)?;
        while script.len() < max_steps && !u.is_empty() {
            let address = |u: &mut Unstructured<'a>| u.choose(&addresses).copied();
            let octets = |u: &mut Unstructured<'a>| M::arbitrary_octets(&config, u);
            script.push(step(u, &weights, address, octets)?);
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
    let count = u.int_in_range(1..=MAX_ADDRESSES)?;
    let mut addresses = (0..count)
        .map(|_| Ok(M::route(u.arbitrary()?, &[])))
        .collect::<Result<Vec<_>>>()?;
    addresses.sort_unstable();
    addresses.dedup();
    Ok(addresses)
}

/// Generates the default limits, very small ones, and arbitrary ones.
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

/// The weight of each kind of step, in the order of [`step`].
type Weights = [u16; 10];

/// The weights of a busy driver.
const BUSY: Weights = [18, 16, 10, 6, 3, 5, 2, 2, 1, 1];

/// Half of the scripts lack some kinds of steps and have many of others, so that rare kinds follow each other,
/// and outputs and asks that nothing takes accumulate.
fn weights(u: &mut Unstructured<'_>) -> Result<Weights> {
    let mut weights = BUSY;
    if u.arbitrary()? {
        for weight in &mut weights {
            *weight = u.choose(&[0, *weight, *weight, 20]).copied()?;
        }
    }
    Ok(weights)
}

fn step<'a, A, C: Arbitrary<'a>>(
    u: &mut Unstructured<'a>,
    weights: &Weights,
    address: impl FnOnce(&mut Unstructured<'a>) -> Result<A>,
    octets: impl FnOnce(&mut Unstructured<'a>) -> Result<Vec<u8>>,
) -> Result<Step<A, C>> {
    Ok(match kind(u, weights)? {
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

fn kind(u: &mut Unstructured<'_>, weights: &Weights) -> Result<usize> {
    let most = weights.iter().sum::<u16>().saturating_sub(1);
    let mut point = u.int_in_range(0..=most)?;
    for (kind, weight) in weights.iter().enumerate() {
        match point.checked_sub(*weight) {
            Some(rest) => point = rest,
            None => return Ok(kind),
        }
    }
    Ok(0)
}

/// Generates a cue: `Full` and `Free` often, since they recur in the life of a path.
fn cue(u: &mut Unstructured<'_>) -> Result<Link> {
    Ok(match u.int_in_range(0..=7_u8)? {
        0..=1 => Link::Full,
        2..=3 => Link::Free,
        4 => Link::Up,
        _ => u.arbitrary()?,
    })
}

/// Generates a span of time; every order of magnitude is equally likely.
fn span(u: &mut Unstructured<'_>) -> Result<Duration> {
    let scale = u.int_in_range(0..=LONGEST_WAIT)?;
    Ok(Duration::from_nanos(u.int_in_range(0..=1_u64 << scale)?))
}

/// Generates few or many arbitrary octets. `Vec::arbitrary` gives two octets on average.
pub(super) fn any_octets(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let scale = u.int_in_range(0..=LONGEST_RECEIVE)?;
    let len = u.int_in_range(0..=1_usize << scale)?.min(u.len());
    u.bytes(len).map(<[u8]>::to_vec)
}
