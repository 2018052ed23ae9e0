//! COTP over loopback TCP, beside TCP alone and beside `hat-drivers`, in the same run.
//!
//! One iteration sends 64 MiB in messages of one size and waits until the receiver has them all. The rows
//! named `tcp_` move the same octets without any protocol, with the reads and writes of the same runtime:
//! the limit. The group `echo` sends messages there and back, one at a time. `hat_drivers` measures itself, server and client in two processes, if
//! `tests/interop/setup.sh` has installed it.
#![allow(
    missing_docs,
    reason = "the functions that criterion's macros make have none"
)]
#![expect(clippy::unwrap_used, reason = "a benchmark stops by panicking")]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::thread;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use farlink::adapters::{blocking, tokio as nonblocking};
use farlink::cotp::{Config, ConnectionLimits, Policy, TpduSize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const TOTAL: usize = 64 << 20;
const SIZES: [usize; 3] = [16 << 10, 64 << 10, 1 << 20];
const READ: usize = 64 << 10;

fn loopback(criterion: &mut Criterion) {
    for size in SIZES {
        let mut group = criterion.benchmark_group(format!("loopback/{size}"));
        group.throughput(Throughput::Bytes(TOTAL as u64));
        group.sample_size(10);
        let mut tcp = threads_tcp(size);
        group.bench_function(BenchmarkId::from_parameter("tcp_threads"), |bencher| {
            bencher.iter(&mut tcp);
        });
        let mut cotp = threads_cotp(size);
        group.bench_function(BenchmarkId::from_parameter("farlink_blocking"), |bencher| {
            bencher.iter(&mut cotp);
        });
        let mut tcp = tasks_tcp(size);
        group.bench_function(BenchmarkId::from_parameter("tcp_tokio"), |bencher| {
            bencher.iter(&mut tcp);
        });
        let mut cotp = tasks_cotp(size);
        group.bench_function(BenchmarkId::from_parameter("farlink_tokio"), |bencher| {
            bencher.iter(&mut cotp);
        });
        if let Some(rate) = hat(size) {
            println!("loopback/{size}/hat_drivers, by its own measurement: {rate:.1} MB/s");
        }
    }
}

/// Messages that one iteration of an echo sends there and back.
const ROUNDS: usize = 1000;

fn echo(criterion: &mut Criterion) {
    for size in [64, 16 << 10] {
        let mut group = criterion.benchmark_group(format!("echo/{size}"));
        group.throughput(Throughput::Elements(ROUNDS as u64));
        group.sample_size(10);
        let mut cotp = threads_echo(size);
        group.bench_function(BenchmarkId::from_parameter("farlink_blocking"), |bencher| {
            bencher.iter(&mut cotp);
        });
        let mut cotp = tasks_echo(size);
        group.bench_function(BenchmarkId::from_parameter("farlink_tokio"), |bencher| {
            bencher.iter(&mut cotp);
        });
    }
}

fn threads_echo(size: usize) -> impl FnMut() {
    use blocking::cotp;

    let responder = config(Config::responder(Policy::AcceptAny));
    let listener = cotp::listen("127.0.0.1:0", responder).unwrap();
    let address = listener.local_addr();
    thread::spawn(move || {
        let mut far = listener.accept().unwrap();
        while let Ok(Some(message)) = far.receive() {
            far.send(message).unwrap();
        }
    });
    let mut near = cotp::connect(address, config(Config::default())).unwrap();
    let message = Bytes::from(vec![7; size]);
    move || {
        for _ in 0..ROUNDS {
            near.send(message.clone()).unwrap();
            assert_eq!(near.receive().unwrap().unwrap().len(), message.len());
        }
    }
}

fn tasks_echo(size: usize) -> impl FnMut() {
    use nonblocking::cotp;

    let runtime = runtime();
    let mut near = runtime.block_on(async {
        let responder = config(Config::responder(Policy::AcceptAny));
        let listener = cotp::listen("127.0.0.1:0", responder).await.unwrap();
        let address = listener.local_addr();
        tokio::spawn(async move {
            let mut far = listener.accept().await.unwrap();
            while let Ok(Some(message)) = far.receive().await {
                far.send(message).await.unwrap();
            }
        });
        cotp::connect(address, config(Config::default()))
            .await
            .unwrap()
    });
    let message = Bytes::from(vec![7; size]);
    move || {
        runtime.block_on(async {
            for _ in 0..ROUNDS {
                near.send(message.clone()).await.unwrap();
                let echoed = near.receive().await.unwrap().unwrap();
                assert_eq!(echoed.len(), message.len());
            }
        });
    }
}

fn config(role: Config) -> Config {
    Config {
        tpdu_size: TpduSize::LARGEST,
        limits: ConnectionLimits {
            send_queue: 4 << 20,
            ..role.limits
        },
        ..role
    }
}

/// One thread writes, another reads.
fn threads_tcp(size: usize) -> impl FnMut() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut receiver, _) = listener.accept().unwrap();
    sender.set_nodelay(true).unwrap();
    let (done, all) = mpsc::channel();
    thread::spawn(move || {
        let mut buffer = vec![0; READ];
        let mut count = 0;
        while let Ok(read @ 1..) = receiver.read(&mut buffer) {
            count += read;
            if count >= TOTAL {
                count -= TOTAL;
                done.send(()).unwrap();
            }
        }
    });
    let message = vec![7; size];
    move || {
        for _ in 0..TOTAL / size {
            sender.write_all(&message).unwrap();
        }
        all.recv().unwrap();
    }
}

fn threads_cotp(size: usize) -> impl FnMut() {
    use blocking::cotp;

    let listener =
        cotp::listen("127.0.0.1:0", config(Config::responder(Policy::AcceptAny))).unwrap();
    let address = listener.local_addr();
    let (done, all) = mpsc::channel();
    thread::spawn(move || {
        let mut receiver = listener.accept().unwrap();
        let mut count = 0;
        while let Ok(Some(message)) = receiver.receive() {
            count += message.len();
            if count >= TOTAL {
                count -= TOTAL;
                done.send(()).unwrap();
            }
        }
    });
    let sender = cotp::connect(address, config(Config::default())).unwrap();
    let message = Bytes::from(vec![7; size]);
    move || {
        for _ in 0..TOTAL / size {
            sender.send(message.clone()).unwrap();
        }
        all.recv().unwrap();
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

/// One task writes, another reads.
fn tasks_tcp(size: usize) -> impl FnMut() {
    let runtime = runtime();
    let (done, mut all) = tokio::sync::mpsc::unbounded_channel();
    let mut sender = runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let sender = tokio::net::TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (mut receiver, _) = listener.accept().await.unwrap();
        sender.set_nodelay(true).unwrap();
        tokio::spawn(async move {
            let mut buffer = vec![0; READ];
            let mut count = 0;
            while let Ok(read @ 1..) = receiver.read(&mut buffer).await {
                count += read;
                if count >= TOTAL {
                    count -= TOTAL;
                    done.send(()).unwrap();
                }
            }
        });
        sender
    });
    let message = Bytes::from(vec![7; size]);
    move || {
        let message = message.clone();
        runtime.block_on(async {
            for _ in 0..TOTAL / size {
                sender.write_all(&message).await.unwrap();
            }
            all.recv().await.unwrap();
        });
    }
}

fn tasks_cotp(size: usize) -> impl FnMut() {
    use nonblocking::cotp;

    let runtime = runtime();
    let (done, mut all) = tokio::sync::mpsc::unbounded_channel();
    let sender = runtime.block_on(async {
        let responder = config(Config::responder(Policy::AcceptAny));
        let listener = cotp::listen("127.0.0.1:0", responder).await.unwrap();
        let address = listener.local_addr();
        tokio::spawn(async move {
            let mut receiver = listener.accept().await.unwrap();
            let mut count = 0;
            while let Ok(Some(message)) = receiver.receive().await {
                count += message.len();
                if count >= TOTAL {
                    count -= TOTAL;
                    done.send(()).unwrap();
                }
            }
        });
        cotp::connect(address, config(Config::default()))
            .await
            .unwrap()
    });
    let message = Bytes::from(vec![7; size]);
    move || {
        let message = message.clone();
        runtime.block_on(async {
            for _ in 0..TOTAL / size {
                sender.send(message.clone()).await.unwrap();
            }
            all.recv().await.unwrap();
        });
    }
}

/// Returns the rate of `hat-drivers` to itself, in MB/s.
fn hat(size: usize) -> Option<f64> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop");
    let output = Command::new(here.join(".venv/bin/python"))
        .arg(here.join("hat_cotp_peer.py"))
        .args(["bulk", "--size", &size.to_string()])
        .output()
        .ok()?;
    let line = String::from_utf8(output.stdout).ok()?;
    let (_, rate) = line.split_once("\"mb_per_s\": ")?;
    rate.trim_end_matches(['}', '\n', ' ']).parse().ok()
}

criterion_group!(benches, loopback, echo);
criterion_main!(benches);
