//! What an engine owes to real peers, bad lines and restarts: one module for each part of the promise.

mod models;
