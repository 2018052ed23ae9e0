//! What can be sent.

use alloc::string::String;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};

/// Anything that is octets. What is borrowed is copied once.
pub trait IntoOctets {
    /// Returns the octets.
    fn into_octets(self) -> Bytes;
}

macro_rules! into_octets {
    ($this:ident => $octets:expr; $([$($generics:tt)*] $ty:ty),+ $(,)?) => {
        $(impl<$($generics)*> IntoOctets for $ty {
            fn into_octets(self) -> Bytes {
                let $this = self;
                $octets
            }
        })+
    };
}

into_octets!(this => this; [] Bytes);
into_octets!(this => Bytes::from(this); [] BytesMut, [] Vec<u8>, [] String);
into_octets!(this => Bytes::clone(this); [] &Bytes);
into_octets!(this => Bytes::copy_from_slice(this); [] &[u8]);
into_octets!(
    this => Bytes::copy_from_slice(this.as_ref());
    [] &str, [] &Vec<u8>, [] &String, [const N: usize] [u8; N], [const N: usize] &[u8; N],
);
