//! Recording, replaying and reading, with toy machines.

mod flow;
mod foreign;
mod recorder;
mod redact;
mod replay;
mod reseal;
mod toy;
