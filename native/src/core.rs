//! The data plane of a process: its threads, its clock, and the orders of the thread that decides.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};

use crate::events::Events;
use crate::http2::session::Session;
use crate::lock;
use crate::turn::{Flush, Turn};

/// Between two looks of the sessions at the clock.
const TICK: Duration = Duration::from_secs(1);

pub struct Core {
    pub events: Arc<Events>,
    runtime: Mutex<Option<Runtime>>,
    handle: tokio::runtime::Handle,
    sessions: Arc<Mutex<Vec<Weak<Session>>>>,
    /// What orders have queued since the last flush.
    dirty: Mutex<VecDeque<Arc<dyn Flush>>>,
}

impl Core {
    /// `threads` workers; 0 for as many as there are cores.
    ///
    /// # Errors
    /// The system has no threads or descriptors left.
    pub fn start(threads: usize) -> std::io::Result<Self> {
        let threads = if threads == 0 {
            std::thread::available_parallelism().map_or(1, usize::from)
        } else {
            threads
        };
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("ztm-net")
            .enable_all()
            .build()?;
        let sessions: Arc<Mutex<Vec<Weak<Session>>>> = Arc::default();
        runtime.spawn(tick(sessions.clone()));
        Ok(Self {
            events: Events::new()?,
            handle: runtime.handle().clone(),
            runtime: Mutex::new(Some(runtime)),
            sessions,
            dirty: Mutex::default(),
        })
    }

    pub fn handle(&self) -> &tokio::runtime::Handle {
        &self.handle
    }

    /// Carry an order out; what it sends leaves with the next flush.
    pub fn order<T>(&self, work: impl FnOnce(&mut Turn) -> T) -> T {
        let mut turn = Turn::new();
        let result = work(&mut turn);
        turn.settle();
        let dirty = turn.take_dirty();
        if !dirty.is_empty() {
            lock(&self.dirty).extend(dirty);
        }
        result
    }

    /// Send what orders have queued.
    pub fn flush(&self) {
        let dirty = std::mem::take(&mut *lock(&self.dirty));
        let mut turn = Turn::new();
        turn.adopt(dirty);
        turn.finish();
    }

    /// Have `session` look at the clock.
    pub fn keep(&self, session: &Arc<Session>) {
        lock(&self.sessions).push(Arc::downgrade(session));
    }

    /// Stop the threads.
    pub fn close(&self) {
        self.flush();
        if let Some(runtime) = lock(&self.runtime).take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Core {
    /// The last to hold it may be a thread of its own, which cannot wait for itself.
    fn drop(&mut self) {
        if let Some(runtime) = lock(&self.runtime).take() {
            runtime.shutdown_background();
        }
    }
}

async fn tick(sessions: Arc<Mutex<Vec<Weak<Session>>>>) {
    let mut clock = tokio::time::interval(TICK);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        clock.tick().await;
        let known = {
            let mut sessions = lock(&sessions);
            sessions.retain(|session| session.upgrade().is_some_and(|session| !session.is_gone()));
            sessions.clone()
        };
        let now = Instant::now();
        for session in known.iter().filter_map(Weak::upgrade) {
            let mut turn = Turn::new();
            session.tick(&mut turn, now);
            turn.finish();
        }
    }
}
