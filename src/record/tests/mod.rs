//! Recording, replaying and reading, with toy machines.

#[cfg(feature = "cotp")]
mod cotp;
mod flow;
mod foreign;
mod fragments;
mod hostile;
mod recorder;
mod redact;
mod replay;
mod reseal;
mod restored;
mod toy;
