//! What the adapters report to `tracing`.

use std::sync::{Arc, Mutex};

use farlink::adapters::tokio::cotp;
use farlink::cotp::{Config, Policy};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Keeps the messages of all events.
#[derive(Clone, Default)]
struct Messages(Arc<Mutex<Vec<String>>>);

impl Subscriber for Messages {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        if event.metadata().target() == "farlink::adapters" {
            event.record(&mut self.clone());
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

impl Visit for Messages {
    fn record_debug(&mut self, field: &Field, value: &dyn core::fmt::Debug) {
        if field.name() == "message" {
            self.0.lock().unwrap().push(format!("{value:?}"));
        }
    }
}

#[test]
fn the_start_and_the_end_of_each_driver_are_reported() {
    let messages = Messages::default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();

    tracing::subscriber::with_default(messages.clone(), || {
        runtime.block_on(async {
            let config = Config::responder(Policy::AcceptAny);
            let listener = cotp::listen("127.0.0.1:0", config).await.unwrap();
            let client = cotp::connect(listener.local_addr(), Config::initiator(None, None));
            let (client, server) = tokio::join!(client, listener.accept());
            client.unwrap().close().await.unwrap();
            assert!(server.unwrap().receive().await.unwrap().is_none());
        });
    });

    let messages = messages.0.lock().unwrap();
    let count = |text: &str| messages.iter().filter(|message| *message == text).count();
    assert_eq!(count("driver starts"), 2, "{messages:?}");
    assert!(count("driver ends") >= 1, "{messages:?}");
}
