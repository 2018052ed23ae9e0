//! Conversations of other programs, fed to recorded connections.
