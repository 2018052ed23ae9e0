//! The one place that asks the system for chance.

use std::io;

use crate::Seed;

/// Draws a seed from the generator of the operating system.
///
/// # Errors
///
/// The system has none to give.
pub fn seed() -> io::Result<Seed> {
    let mut octets = [0; 32];
    getrandom::fill(&mut octets)?;
    Ok(Seed::from_octets(octets))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_seeds_are_equal() {
        assert_ne!(seed().unwrap(), seed().unwrap());
    }
}
