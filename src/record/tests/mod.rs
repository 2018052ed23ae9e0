//! Recording, replaying and reading, with toy machines.

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
