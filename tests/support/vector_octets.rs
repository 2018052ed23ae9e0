//! Octets in the vectors of all protocols: hex digits, or parts of which some follow a rule.

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Octets {
    Hex(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Part {
    Hex(String),
    Pattern { pattern: Pattern },
    Repeat { repeat: Repeat },
}

#[derive(Deserialize)]
pub(crate) struct Pattern {
    len: usize,
    #[serde(default)]
    seed: usize,
    #[serde(default)]
    start: usize,
    every: Option<usize>,
    times: Option<usize>,
}

#[derive(Deserialize)]
pub(crate) struct Repeat {
    hex: String,
    len: usize,
    #[serde(default)]
    start: usize,
}

impl Octets {
    pub(crate) fn to_vec(&self) -> Vec<u8> {
        match self {
            Self::Hex(text) => unhex(text),
            Self::Parts(parts) => parts.iter().flat_map(Part::to_vec).collect(),
        }
    }
}

impl Part {
    fn to_vec(&self) -> Vec<u8> {
        match self {
            Self::Hex(text) => unhex(text),
            Self::Pattern { pattern } => pattern.to_vec(),
            Self::Repeat { repeat } => {
                let octets = unhex(&repeat.hex);
                octets
                    .into_iter()
                    .cycle()
                    .skip(repeat.start)
                    .take(repeat.len)
                    .collect()
            }
        }
    }
}

impl Pattern {
    fn to_vec(&self) -> Vec<u8> {
        let every = self.every.unwrap_or(251);
        let times = self.times.unwrap_or(1);
        (self.start..self.start + self.len)
            .map(|at| 7 * at + times * (at / every) + self.seed)
            .map(|sum| u8::try_from(sum % 256).expect("under 256"))
            .collect()
    }
}

/// Returns the octets of `text`.
pub(crate) fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "half an octet: {text}");
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex"))
        .collect()
}
