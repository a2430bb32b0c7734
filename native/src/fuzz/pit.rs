//! The stream below a fuzzed session: its peer reads when it is told to, and minds what it reads.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use crate::events::{Events, Watch};
use crate::flow::{Outlet, Port, Reason, Source};
use crate::http2::frame::{self, HEAD, Head};
use crate::inlet::{self, Inlet};
use crate::lock;
use crate::turn::Turn;

/// Bytes that are taken until the peer reads again, where it is slow.
const ROOM: usize = 64;

#[derive(Default)]
struct Half {
    room: usize,
    feeder: Option<Source>,
    is_ended: bool,
    is_over: bool,
    /// What the session has sent, until it is whole frames.
    sent: Vec<u8>,
    /// Streams that the session has ended or reset.
    ended: HashSet<u32>,
    is_gone: bool,
}

pub(super) struct Pit {
    watch: Watch,
    inlet: Inlet,
    half: Mutex<Half>,
    is_slow: bool,
    is_own: bool,
}

impl Pit {
    /// A slow peer reads 64 bytes at a time, each time that `read` says so.
    pub(super) fn new(events: &Arc<Events>, is_slow: bool, is_own: bool) -> Arc<Self> {
        let room = if is_slow { ROOM } else { usize::MAX };
        let half = Mutex::new(Half {
            room,
            ..Half::default()
        });
        Arc::new(Self {
            watch: Watch::new(events),
            inlet: Inlet::default(),
            half,
            is_slow,
            is_own,
        })
    }

    /// The peer reads what was sent; the feeder, to be woken.
    pub(super) fn read(&self) -> Option<Source> {
        let mut half = lock(&self.half);
        half.room = if self.is_slow { ROOM } else { usize::MAX };
        half.feeder.clone()
    }

    /// The connection is lost: nobody holds anybody any more.
    pub(super) fn lose(self: &Arc<Self>, turn: &mut Turn) {
        let port: Arc<dyn Port> = self.clone();
        inlet::broken(&port, turn, &"lost".into());
        let mut half = lock(&self.half);
        half.is_over = true;
        drop(half.feeder.take());
    }
}

impl Half {
    fn take(&mut self, data: &[u8]) {
        assert!(!self.is_gone || data.is_empty(), "nothing follows a GOAWAY");
        self.sent.extend_from_slice(data);
        if self.sent.starts_with(&frame::PREFACE[..3]) {
            if self.sent.len() < frame::PREFACE.len() {
                return;
            }
            self.sent.drain(..frame::PREFACE.len());
        }
        while let Some(first) = self.sent.first_chunk::<HEAD>() {
            let head = Head::parse(first);
            if self.sent.len() < HEAD + head.length {
                return;
            }
            self.sent.drain(..HEAD + head.length);
            self.mind(head);
        }
    }

    fn mind(&mut self, head: Head) {
        assert!(!self.is_gone, "nothing follows a GOAWAY");
        match head.kind {
            frame::DATA | frame::HEADERS => {
                assert_ne!(head.stream, 0);
                assert!(
                    !self.ended.contains(&head.stream),
                    "v1 ends a session over a late frame"
                );
                if head.flags & frame::END_STREAM != 0 {
                    self.ended.insert(head.stream);
                }
            }
            frame::RST_STREAM => {
                assert_ne!(head.stream, 0);
                self.ended.insert(head.stream);
            }
            frame::GOAWAY => self.is_gone = true,
            frame::SETTINGS | frame::PING => assert_eq!(head.stream, 0),
            frame::WINDOW_UPDATE | frame::CONTINUATION => {}
            kind => panic!("a frame of kind {kind} is never sent"),
        }
    }
}

impl Outlet for Pit {
    fn put(&self, _: &mut Turn, data: &[u8]) -> usize {
        let mut half = lock(&self.half);
        if half.is_over || half.is_ended {
            return data.len();
        }
        let size = data.len().min(half.room);
        half.room -= size;
        half.take(&data[..size]);
        size
    }

    fn end(&self, _: &mut Turn) {
        lock(&self.half).is_ended = true;
    }

    fn abort(&self, _: &mut Turn, _: &Reason) {
        lock(&self.half).is_over = true;
    }
}

impl Port for Pit {
    fn watch(&self) -> &Watch {
        &self.watch
    }

    fn inlet(&self) -> &Inlet {
        &self.inlet
    }

    fn credit(&self, _: &mut Turn, _: usize) {}

    fn send(&self, _: &mut Turn, data: &[u8]) -> bool {
        let mut half = lock(&self.half);
        if !half.is_over && !half.is_ended {
            half.take(data);
        }
        true
    }

    fn feed_by(&self, source: Source) {
        lock(&self.half).feeder = Some(source);
    }

    fn has_feeder(&self) -> bool {
        lock(&self.half).feeder.is_some()
    }

    fn has_room(&self) -> bool {
        lock(&self.half).room > 0
    }

    fn is_over(&self) -> bool {
        lock(&self.half).is_over
    }

    fn is_ended(&self) -> bool {
        let half = lock(&self.half);
        half.is_ended || half.is_over
    }

    fn is_own(&self) -> bool {
        self.is_own
    }

    fn remote(&self) -> Option<SocketAddr> {
        None
    }

    fn local(&self) -> Option<SocketAddr> {
        None
    }
}
