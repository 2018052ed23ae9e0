//! Recordings and captures, with small machines.

#[cfg(feature = "cotp")]
mod cotp;
mod fix_checksums;
mod flow;
mod foreign;
mod hostile;
mod ip_reassembly;
mod recorder;
mod redact;
mod replay;
mod restored;
mod toy;
