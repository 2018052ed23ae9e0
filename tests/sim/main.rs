//! The simulator: every fault, every kind of NAT and every call of the script does what it says.

mod faults;
mod hops;
mod laws;
mod nats;
mod puppet;
mod script;
mod sockets;
mod streams;
mod tcp_nats;
