//! One test per rule of the specification.
