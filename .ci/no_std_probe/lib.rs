//! Defines what std would define, so that std cannot be linked as well.
#![no_std]

extern crate farlink as _;

use core::alloc::{GlobalAlloc, Layout};

struct Nothing;

// SAFETY: it never hands out memory; this library is linked and never run.
unsafe impl GlobalAlloc for Nothing {
    unsafe fn alloc(&self, _: Layout) -> *mut u8 {
        core::ptr::null_mut()
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static ALLOCATOR: Nothing = Nothing;

#[panic_handler]
fn halt(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
