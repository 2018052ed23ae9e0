//! How one list of methods gets its two faces: awaited, and blocking.

/// Implements methods of a handle, written once, for the handle itself and for
/// `adapters::blocking::Blocking` around it. Both get the same documentation. What is `async` blocks there.
///
/// Several handles share a list if their fields have the same names. Generics come first, in brackets:
/// `impl [<T: Send>] Handle<T>`.
///
/// A second name in brackets adds a blocking variant with a limit of time, whose error is that of
/// `io::ErrorKind::TimedOut`: the result's error type is made `From<io::Error>`. What a dropped future
/// leaves behind is what a variant leaves behind whose time is over.
///
/// A method that returns a `Result` with a handle names what the blocking one returns behind `as`; it is made
/// `From` the handle.
///
/// ```ignore
/// faces! {
///     impl Connection, ReceiveHalf {
///         /// Receives the next message.
///         pub async fn receive[receive_timeout](&mut self) -> Result<Option<Bytes>, Error> { .. }
///     }
/// }
/// ```
macro_rules! faces {
    (impl [$($generics:tt)*] $handle:ty { $($methods:tt)* }) => {
        faces!(@each [$($generics)*] [$handle] { $($methods)* });
    };
    (impl $($handle:ident),+ { $($methods:tt)* }) => {
        faces!(@all [$($handle)+] { $($methods)* });
    };
    (@all [$($handle:ident)+] $methods:tt) => {
        $(faces!(@each [] [$handle] $methods);)+
    };
    (@each $generics:tt $handle:tt {}) => {};
    (@each $generics:tt $handle:tt { $(#[$meta:meta])* pub $(async $(@$mark:tt)*)? fn $name:ident
        $(<$generic:ident>)? $([$limited:ident])? ($($args:tt)*) -> $ret:ty $(as $blocking:ty)? $body:block $($rest:tt)*
    }) => {
        faces!(@both $generics $handle [$(#[$meta])*] [$(async $($mark)*)?] $name
            [$(<$generic>)?] [$($limited)?] ($($args)*) [$ret] [$(as $blocking)?] $body);
        faces!(@each $generics $handle { $($rest)* });
    };
    (@both [$($generics:tt)*] [$handle:ty] [$($meta:tt)*] [$($async:ident)?] $name:ident
        [$($generic:tt)*] [$($limited:ident)?] $args:tt [$ret:ty] $as:tt $body:block
    ) => {
        impl $($generics)* $handle {
            $($meta)*
            pub $($async)? fn $name $($generic)* $args -> $ret $body
        }
        #[cfg(feature = "blocking")]
        #[allow(clippy::should_implement_trait, reason = "`next` is named as the method that is awaited")]
        impl $($generics)* $crate::adapters::blocking::Blocking<$handle> {
            $($meta)*
            pub fn $name $($generic)* $args -> faces!(@ret $ret, $as) {
                faces!(@wait [$($async)?] $as faces!(@call $name $args))
            }
            $(faces!(@limited $limited $name $args [$ret] $as);)?
        }
    };
    (@limited $limited:ident $name:ident ($($args:tt)*) [$ret:ty] $as:tt) => {
        #[doc = concat!("Does what `", stringify!($name), "` does, at most for `limit`.")]
        ///
        /// # Errors
        ///
        /// As there, and one of the kind `TimedOut`.
        pub fn $limited($($args)*, limit: core::time::Duration) -> faces!(@ret $ret, $as) {
            let waited = $crate::adapters::blocking::threads::block_on_timeout(
                faces!(@call $name ($($args)*)),
                limit,
            )?;
            faces!(@wait [] $as waited)
        }
    };
    (@call $name:ident (&mut $this:ident $(, $arg:ident: $ty:ty)* $(,)?)) => { $this.0.$name($($arg),*) };
    (@call $name:ident (&$this:ident $(, $arg:ident: $ty:ty)* $(,)?)) => { $this.0.$name($($arg),*) };
    (@call $name:ident ($this:ident $(, $arg:ident: $ty:ty)* $(,)?)) => { $this.0.$name($($arg),*) };
    (@ret $ret:ty, []) => { $ret };
    (@ret $ret:ty, [as $blocking:ty]) => { $blocking };
    (@wait [] [] $result:expr) => { $result };
    (@wait [] [as $blocking:ty] $result:expr) => { $result.map(Into::into) };
    (@wait [async] $as:tt $future:expr) => {
        faces!(@wait [] $as $crate::adapters::blocking::threads::block_on($future))
    };
}

/// Implements functions of a node that start it. Each is written once, for any runtime, and has two names: the first
/// takes the tokio runtime of the caller, or for `adapters::blocking::Blocking` around the node the threads; the second
/// takes the runtime as its first argument.
///
/// ```ignore
/// starts! {
///     /// Starts a node.
///     pub fn Node::start, start_on(runtime, options: Options) -> Result<Node, Error> as Result<blocking::Node, Error> { .. }
/// }
/// ```
macro_rules! starts {
    ($($(#[$meta:meta])* pub fn $node:ident::$name:ident, $on:ident($runtime:ident $(, $arg:ident: $ty:ty)*)
        -> $ret:ty as $blocking:ty $body:block)*
    ) => { $(
        impl $node {
            $(#[$meta])*
            pub fn $on($runtime: &alloc::sync::Arc<dyn Runtime>, $($arg: $ty),*) -> $ret $body
        }
        #[cfg(feature = "tokio")]
        impl $node {
            $(#[$meta])*
            ///
            /// # Panics
            ///
            /// It runs in a task of the tokio runtime of the caller. Outside of one with I/O and time enabled it panics.
            pub fn $name($($arg: $ty),*) -> $ret {
                Self::$on(&$crate::adapters::tokio::runtime(), $($arg),*)
            }
        }
        #[cfg(feature = "blocking")]
        impl $crate::adapters::blocking::Blocking<$node> {
            $(#[$meta])*
            pub fn $name($($arg: $ty),*) -> $blocking {
                $node::$on(&$crate::adapters::blocking::runtime(), $($arg),*).map(Into::into)
            }
        }
    )* };
}

/// Makes an enum with the variants `Io`, `TimedOut` and `Closed` the error of a node's handles.
macro_rules! node_error {
    ($error:ident) => {
        impl core::error::Error for $error {}

        impl From<std::io::Error> for $error {
            fn from(error: std::io::Error) -> Self {
                match error.kind() {
                    std::io::ErrorKind::TimedOut => Self::TimedOut,
                    _ => Self::Io(error),
                }
            }
        }

        impl From<$crate::adapters::Closed> for $error {
            fn from(_: $crate::adapters::Closed) -> Self {
                Self::Closed
            }
        }
    };
}
