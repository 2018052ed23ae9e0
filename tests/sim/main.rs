//! The simulator: every fault, every kind of NAT and every call of the script does what it says.

mod courier;
mod drawings;
mod faults;
mod hops;
mod laws;
mod nats;
mod punching;
mod puppet;
mod script;
mod sockets;
mod streams;
mod tcp_nats;
