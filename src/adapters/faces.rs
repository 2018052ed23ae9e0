//! How one list of methods gets its two faces: awaited, and blocking.

/// Implements methods of a handle, written once, for the handle itself and for its blocking twin, which wraps
/// it: `struct Blocking(Handle)`. Both get the same documentation. What is `async` blocks at the twin.
///
/// A second name in brackets adds a blocking variant with a limit of time, whose error is that of
/// `io::ErrorKind::TimedOut`: the result's error type is made `From<io::Error>`. What a dropped future
/// leaves behind is what a variant leaves behind whose time is over.
///
/// Generics come first, in brackets: `impl [<T: Send>] Handle<T>, Blocking<T>`.
///
/// A method that returns a `Result` with a handle names the twin's result behind `as`; the twin of the handle
/// is made `From` it.
///
/// ```ignore
/// faces! {
///     impl Connection, crate::adapters::blocking::cotp::Connection {
///         /// Receives the next message.
///         pub async fn receive[receive_timeout](&mut self) -> Result<Option<Bytes>, Error> { .. }
///
///         /// Returns the address of the peer.
///         pub fn peer_addr(&self) -> SocketAddr { .. }
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
    (@each $types:tt $(#[$meta:meta])* pub async fn $name:ident $([$timeout:ident])? ($($this:tt)*) $(-> $ret:ty $(as $twin:ty)?)? $body:block $($rest:tt)*) => {
        $crate::adapters::faces::faces!(@one $types [$(#[$meta])*] [async] $name [$($timeout)?] [$($ret)?] [$($($twin)?)?] $body $($this)*);
        $crate::adapters::faces::faces!(@each $types $($rest)*);
    };
    (@each $types:tt $(#[$meta:meta])* pub fn $name:ident ($($this:tt)*) $(-> $ret:ty $(as $twin:ty)?)? $body:block $($rest:tt)*) => {
        $crate::adapters::faces::faces!(@one $types [$(#[$meta])*] [] $name [] [$($ret)?] [$($($twin)?)?] $body $($this)*);
        $crate::adapters::faces::faces!(@each $types $($rest)*);
    };
    (@each $types:tt) => {};
    (@one $t:tt $m:tt $a:tt $n:ident $l:tt $r:tt $w:tt $b:block & $self:ident $(, $arg:ident: $ty:ty)* $(,)?) => {
        $crate::adapters::faces::faces!(@emit $t $m $a $n $l $r $w $b [& $self] [$($arg: $ty),*] [$($arg),*]);
    };
    (@one $t:tt $m:tt $a:tt $n:ident $l:tt $r:tt $w:tt $b:block &mut $self:ident $(, $arg:ident: $ty:ty)* $(,)?) => {
        $crate::adapters::faces::faces!(@emit $t $m $a $n $l $r $w $b [&mut $self] [$($arg: $ty),*] [$($arg),*]);
    };
    (@one $t:tt $m:tt $a:tt $n:ident $l:tt $r:tt $w:tt $b:block $self:ident $(, $arg:ident: $ty:ty)* $(,)?) => {
        $crate::adapters::faces::faces!(@emit $t $m $a $n $l $r $w $b [$self] [$($arg: $ty),*] [$($arg),*]);
    };
    (@emit ([$($generics:tt)*] $handle:ty, $blocking:ty) [$(#[$meta:meta])*] [$($async:tt)?] $name:ident $timeout:tt $ret:tt $twin:tt $body:block [$($this:tt)+] [$($arg:ident: $ty:ty),*] [$($pass:ident),*]) => {
        impl $($generics)* $handle {
            $(#[$meta])*
            pub $($async)? fn $name($($this)+, $($arg: $ty),*) -> $crate::adapters::faces::faces!(@ret $ret []) $body
        }
        #[cfg(feature = "blocking")]
        #[allow(
            clippy::should_implement_trait,
            reason = "`next` is named as the method that is awaited"
        )]
        impl $($generics)* $blocking {
            $(#[$meta])*
            pub fn $name($($this)+, $($arg: $ty),*) -> $crate::adapters::faces::faces!(@ret $ret $twin) {
                $crate::adapters::faces::faces!(@inner $($this)+; this);
                let result = $crate::adapters::faces::faces!(@wait [$($async)?] this.$name($($pass),*));
                $crate::adapters::faces::faces!(@wrap $twin result)
            }
        }
        $crate::adapters::faces::faces!(@limited ([$($generics)*] $blocking) $timeout $name $ret $twin [$($this)+] [$($arg: $ty),*] [$($pass),*]);
    };
    (@limited $types:tt [] $($rest:tt)*) => {};
    (@limited ([$($generics:tt)*] $blocking:ty) [$timeout:ident] $name:ident $ret:tt $twin:tt [$($this:tt)+] [$($arg:ident: $ty:ty),*] [$($pass:ident),*]) => {
        #[cfg(feature = "blocking")]
        impl $($generics)* $blocking {
            #[doc = concat!("Does what `", stringify!($name), "` does, at most for `limit`.")]
            ///
            /// # Errors
            ///
            /// As there, and one of the kind `TimedOut`.
            pub fn $timeout($($this)+, $($arg: $ty,)* limit: core::time::Duration) -> $crate::adapters::faces::faces!(@ret $ret $twin) {
                $crate::adapters::faces::faces!(@inner $($this)+; this);
                let result = $crate::adapters::threads::block_on_timeout(this.$name($($pass),*), limit)?;
                $crate::adapters::faces::faces!(@wrap $twin result)
            }
        }
    };
    (@inner & $self:ident; $this:ident) => { let $this = &$self.0; };
    (@inner &mut $self:ident; $this:ident) => { let $this = &mut $self.0; };
    (@inner $self:ident; $this:ident) => { let $this = $self.0; };
    (@ret [] []) => { () };
    (@ret [$ret:ty] []) => { $ret };
    (@ret $ret:tt [$twin:ty]) => { $twin };
    (@wait [] $result:expr) => { $result };
    (@wait [async] $future:expr) => { $crate::adapters::threads::block_on($future) };
    (@wrap [] $result:ident) => { $result };
    (@wrap [$twin:ty] $result:ident) => { $result.map(Into::into) };
}

pub(crate) use faces;
