//! Recording, replaying and reading, with toy machines.

mod replay;
mod toy;
