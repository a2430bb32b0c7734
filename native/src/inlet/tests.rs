//! Bytes stay in order and are counted once, whatever happens at the same time.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::*;
use crate::events::{Events, Watch};
use crate::flow::{Source, pipe};

/// A port that takes what it is let, in order, and does as it is told while it takes it.
struct Probe {
    watch: Watch,
    inlet: Inlet,
    got: Mutex<Vec<u8>>,
    room: AtomicUsize,
    wants: AtomicBool,
    ended: AtomicUsize,
    aborted: AtomicUsize,
    credited: AtomicUsize,
    while_taking: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

fn port() -> Arc<Probe> {
    let events = Events::new().expect("there are descriptors");
    Arc::new(Probe {
        watch: Watch::new(&events),
        inlet: Inlet::default(),
        got: Mutex::default(),
        room: AtomicUsize::new(usize::MAX),
        wants: AtomicBool::new(false),
        ended: AtomicUsize::new(0),
        aborted: AtomicUsize::new(0),
        credited: AtomicUsize::new(0),
        while_taking: Mutex::default(),
    })
}

impl Outlet for Probe {
    fn put(&self, _: &mut Turn, data: &[u8]) -> usize {
        if let Some(work) = lock(&self.while_taking).take() {
            work();
        }
        let mut got = lock(&self.got);
        let size = self.room.load(Ordering::SeqCst).min(data.len());
        self.room.fetch_sub(size, Ordering::SeqCst);
        got.extend_from_slice(&data[..size]);
        self.wants.store(size < data.len(), Ordering::SeqCst);
        size
    }

    fn end(&self, _: &mut Turn) {
        self.ended.fetch_add(1, Ordering::SeqCst);
    }

    fn abort(&self, _: &mut Turn, _: &Reason) {
        self.aborted.fetch_add(1, Ordering::SeqCst);
    }
}

impl Port for Probe {
    fn watch(&self) -> &Watch {
        &self.watch
    }
    fn inlet(&self) -> &Inlet {
        &self.inlet
    }
    fn credit(&self, _: &mut Turn, size: usize) {
        self.credited.fetch_add(size, Ordering::SeqCst);
    }
    fn send(&self, turn: &mut Turn, data: &[u8]) -> bool {
        self.put(turn, data) == data.len()
    }
    fn feed_by(&self, _: Source) {}
    fn has_feeder(&self) -> bool {
        true
    }
    fn has_room(&self) -> bool {
        true
    }
    fn is_over(&self) -> bool {
        false
    }
    fn is_ended(&self) -> bool {
        false
    }
    fn is_own(&self) -> bool {
        false
    }
    fn remote(&self) -> Option<std::net::SocketAddr> {
        None
    }
    fn local(&self) -> Option<std::net::SocketAddr> {
        None
    }
}

/// The `index`-th byte of a long sequence in which no piece looks like another.
fn byte(index: usize) -> u8 {
    (index.wrapping_mul(0x9e37_79b1) >> 13) as u8
}

fn joined(counter: &Arc<Counter>) -> (Arc<dyn Port>, Arc<Probe>, Arc<Probe>) {
    let (source, sink) = (port(), port());
    let (a, b): (Arc<dyn Port>, Arc<dyn Port>) = (source.clone(), sink.clone());
    pipe(&mut Turn::new(), &a, &b, Some(counter.clone()));
    (a, source, sink)
}

#[test]
fn bytes_stay_in_order_while_one_thread_brings_them_and_others_make_room() {
    const TOTAL: usize = 2 << 20;
    let counter = Arc::new(AtomicU64::new(0));
    let (a, source, sink) = joined(&counter);
    sink.room.store(0, Ordering::SeqCst);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut at, mut size) = (0, 1);
            while at < TOTAL {
                let end = TOTAL.min(at + size);
                let piece: Vec<u8> = (at..end).map(byte).collect();
                arrived(&a, &mut Turn::new(), &piece);
                (at, size) = (end, size * 7 % 9973 + 1);
            }
            finished(&a, &mut Turn::new());
        });
        for step in [1009, 4096] {
            let (a, sink) = (&a, &sink);
            scope.spawn(move || {
                while sink.ended.load(Ordering::SeqCst) == 0 {
                    if sink.room.load(Ordering::SeqCst) < 1 << 20 {
                        sink.room.fetch_add(step, Ordering::SeqCst);
                    }
                    advance(a, &mut Turn::new());
                    std::thread::yield_now();
                }
            });
        }
    });
    let got = lock(&sink.got);
    assert_eq!(got.len(), TOTAL);
    assert!(got.iter().enumerate().all(|(index, found)| *found == byte(index)));
    assert_eq!(counter.load(Ordering::SeqCst), TOTAL as u64);
    assert_eq!(source.credited.load(Ordering::SeqCst), TOTAL);
    assert_eq!((sink.ended.load(Ordering::SeqCst), a.inlet().queued()), (1, 0));
}

#[test]
fn a_cut_at_any_moment_is_told_once_and_leaves_nothing() {
    for round in 0..300 {
        let counter = Arc::new(AtomicU64::new(0));
        let (a, _source, sink) = joined(&counter);
        sink.room.store(round * 50, Ordering::SeqCst);
        std::thread::scope(|scope| {
            scope.spawn(|| (0..50).for_each(|_| arrived(&a, &mut Turn::new(), &[7; 300])));
            scope.spawn(|| {
                (0..50).for_each(|_| {
                    sink.room.fetch_add(100, Ordering::SeqCst);
                    advance(&a, &mut Turn::new());
                });
            });
            scope.spawn(|| {
                a.inlet().clear();
                broken(&a, &mut Turn::new(), &"cut".into());
                broken(&a, &mut Turn::new(), &"again".into());
            });
        });
        assert_eq!(sink.aborted.load(Ordering::SeqCst), 1);
        assert_eq!((a.inlet().queued(), a.inlet().has_sink()), (0, false));
        assert_eq!(counter.load(Ordering::SeqCst), lock(&sink.got).len() as u64);
        assert_eq!(Arc::strong_count(&sink), 1);
    }
}

#[test]
fn bytes_that_are_dropped_while_a_sink_is_handed_some_are_counted_once() {
    let (a, _source, sink) = joined(&Arc::default());
    sink.room.store(0, Ordering::SeqCst);
    arrived(&a, &mut Turn::new(), &[1; 1000]);
    let inlet = a.clone();
    *lock(&sink.while_taking) = Some(Box::new(move || inlet.inlet().clear()));
    sink.room.store(10_000, Ordering::SeqCst);
    advance(&a, &mut Turn::new());
    assert_eq!(a.inlet().queued(), 0);
}

#[test]
fn bytes_that_come_one_by_one_wait_in_little_more_than_themselves() {
    let source = port();
    let a: Arc<dyn Port> = source.clone();
    for index in 0..60_000 {
        arrived(&a, &mut Turn::new(), &[byte(index)]);
    }
    let state = lock(&source.inlet.state);
    let held: usize = state
        .chunks
        .iter()
        .map(|chunk| chunk.capacity() + size_of::<Vec<u8>>())
        .sum();
    assert!(held < 3 * 60_000, "{held} bytes for 60,000");
}

#[test]
fn bytes_that_were_put_back_come_first_and_are_credited_once() {
    let source = port();
    let a: Arc<dyn Port> = source.clone();
    arrived(&a, &mut Turn::new(), b"head and body");
    let (bytes, credit) = a.inlet().take().expect("bytes");
    assert_eq!((bytes.len(), credit), (13, 13));
    arrived(&a, &mut Turn::new(), b", more");
    a.inlet().unread(&bytes[9..]);
    let (there, sink) = (Arc::default(), port());
    let b: Arc<dyn Port> = sink.clone();
    pipe(&mut Turn::new(), &a, &b, Some(Arc::clone(&there)));
    assert_eq!(*lock(&sink.got), b"body, more");
    assert_eq!(
        (source.credited.load(Ordering::SeqCst), there.load(Ordering::SeqCst)),
        (6, 10)
    );
}
