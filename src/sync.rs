//! Shared ownership, on cores without compare-and-swap too.

#[cfg(not(feature = "portable-atomic"))]
pub(crate) use alloc::sync::Arc;

#[cfg(feature = "portable-atomic")]
pub(crate) use portable_atomic_util::Arc;
