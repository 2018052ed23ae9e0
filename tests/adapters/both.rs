//! Runs one body of a test on both runtimes.

/// Makes two tests of each function: its driver runs on tokio, or on threads.
macro_rules! on_both_runtimes {
    ($($name:ident),* $(,)?) => {
        $(
            mod $name {
                #[tokio::test]
                async fn on_tokio() {
                    super::$name(farlink::adapters::tokio::runtime()).await;
                }

                #[tokio::test]
                async fn on_threads() {
                    super::$name(farlink::adapters::blocking::runtime()).await;
                }
            }
        )*
    };
}
