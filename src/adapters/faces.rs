//! How one list of methods gets its two faces: awaited, and blocking.

/// Implements methods of a handle, written once as `async fn`, for the handle itself and for its blocking
/// twin, which wraps it: `struct Blocking(Handle)`. Both get the same documentation. Generics come first, in
/// brackets: `impl [<T: Send>] Handle<T>, Blocking<T>`.
///
/// A second name in brackets adds a blocking variant with a limit of time, whose error is that of
/// `io::ErrorKind::TimedOut`: the result's error type is made `From<io::Error>`. What a dropped future
/// leaves behind is what a variant leaves behind whose time is over.
///
/// ```ignore
/// faces! {
///     impl Connection, crate::adapters::blocking::cotp::Connection {
///         /// Receives the next message.
///         pub async fn receive[receive_timeout](&mut self) -> Result<Option<Bytes>, Error> { .. }
///     }
/// }
/// ```
macro_rules! faces {
    (impl [$($generics:tt)*] $handle:ty, $blocking:ty { $($methods:tt)* }) => {
        $crate::adapters::faces::faces!(@each ([$($generics)*] $handle, $blocking) $($methods)*);
    };
    (impl $handle:ty, $blocking:ty { $($methods:tt)* }) => {
        $crate::adapters::faces::faces!(@each ([] $handle, $blocking) $($methods)*);
    };
    (@each $types:tt $(#[$meta:meta])* pub async fn $name:ident $([$timeout:ident])? ($($this:tt)*) -> $ret:ty $body:block $($rest:tt)*) => {
        $crate::adapters::faces::faces!(@one $types [$(#[$meta])*] $name [$($timeout)?] [$ret] $body $($this)*);
        $crate::adapters::faces::faces!(@each $types $($rest)*);
    };
    (@each ([$($generics:tt)*] $handle:ty, $blocking:ty) $(#[$meta:meta])* pub fn $name:ident(&$this:ident) -> $ret:ty $body:block $($rest:tt)*) => {
        impl $($generics)* $handle {
            $(#[$meta])*
            pub fn $name(&$this) -> $ret $body
        }
        #[cfg(feature = "blocking")]
        impl $($generics)* $blocking {
            $(#[$meta])*
            pub fn $name(&self) -> $ret {
                self.0.$name()
            }
        }
        $crate::adapters::faces::faces!(@each ([$($generics)*] $handle, $blocking) $($rest)*);
    };
    (@each $types:tt) => {};
    (@one $t:tt $m:tt $n:ident $l:tt $r:tt $b:block & $self:ident $(, $arg:ident: $ty:ty)*) => {
        $crate::adapters::faces::faces!(@emit $t $m $n $l $r $b [& $self] [$($arg: $ty),*] [$($arg),*]);
    };
    (@one $t:tt $m:tt $n:ident $l:tt $r:tt $b:block &mut $self:ident $(, $arg:ident: $ty:ty)*) => {
        $crate::adapters::faces::faces!(@emit $t $m $n $l $r $b [&mut $self] [$($arg: $ty),*] [$($arg),*]);
    };
    (@one $t:tt $m:tt $n:ident $l:tt $r:tt $b:block $self:ident $(, $arg:ident: $ty:ty)*) => {
        $crate::adapters::faces::faces!(@emit $t $m $n $l $r $b [$self] [$($arg: $ty),*] [$($arg),*]);
    };
    (@emit ([$($generics:tt)*] $handle:ty, $blocking:ty) [$(#[$meta:meta])*] $name:ident $limited:tt [$ret:ty] $body:block [$($this:tt)+] [$($arg:ident: $ty:ty),*] [$($pass:ident),*]) => {
        impl $($generics)* $handle {
            $(#[$meta])*
            pub async fn $name($($this)+, $($arg: $ty),*) -> $ret $body
        }
        #[cfg(feature = "blocking")]
        impl $($generics)* $blocking {
            $(#[$meta])*
            pub fn $name($($this)+, $($arg: $ty),*) -> $ret {
                $crate::adapters::threads::block_on($crate::adapters::faces::faces!(@inner $($this)+).$name($($pass),*))
            }
        }
        $crate::adapters::faces::faces!(@limit $limited [$($generics)*] $blocking, $name [$ret] [$($this)+] [$($arg: $ty),*] [$($pass),*]);
    };
    (@limit [] $($rest:tt)*) => {};
    (@limit [$timeout:ident] [$($generics:tt)*] $blocking:ty, $name:ident [$ret:ty] [$($this:tt)+] [$($arg:ident: $ty:ty),*] [$($pass:ident),*]) => {
        #[cfg(feature = "blocking")]
        impl $($generics)* $blocking {
            #[doc = concat!("Does what `", stringify!($name), "` does, at most for `limit`.")]
            ///
            /// # Errors
            ///
            /// As there, and one of the kind `TimedOut`.
            pub fn $timeout($($this)+, $($arg: $ty,)* limit: core::time::Duration) -> $ret {
                let call = $crate::adapters::faces::faces!(@inner $($this)+).$name($($pass),*);
                $crate::adapters::threads::block_on_timeout(call, limit)?
            }
        }
    };
    (@inner & $self:ident) => { $self.0 };
    (@inner &mut $self:ident) => { $self.0 };
    (@inner $self:ident) => { $self.0 };
}

pub(crate) use faces;
