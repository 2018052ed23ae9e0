//! Recording, replaying and reading, with toy machines.

mod recorder;
mod replay;
mod reseal;
mod toy;
