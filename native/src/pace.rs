//! When the writes of a busy connection wait for one another: a system call for several costs little more than one.
//!
//! A worker that finds many sockets readable hands on what each one brought; where all of that goes to one hop, it
//! leaves once the worker has been through them. Who is alone never waits.

use std::time::{Duration, Instant};

/// A connection that was written to within this time is busy.
const BUSY: Duration = Duration::from_micros(50);
/// For how long a write may be postponed, as long as others come.
const LONGEST: Duration = Duration::from_micros(500);
/// Writes together that are worth the wait.
const WORTH: u32 = 3;
/// Writes that do not wait after a wait that was not worth it.
const VAIN: u32 = 4;

#[derive(Debug, Default)]
pub struct Pace {
    /// The last write.
    written: Option<Instant>,
    /// Since when one is postponed.
    due: Option<Instant>,
    /// Writes that leave together once that is over.
    gathered: u32,
    /// Writes still to come that do not wait.
    vain: u32,
}

impl Pace {
    /// Bytes have left.
    pub fn wrote(&mut self, now: Instant) {
        self.written = Some(now);
    }

    /// Whether a write that is due waits for others. If so, [`Pace::caught_up`] is to follow.
    pub fn postpones(&mut self, now: Instant) -> bool {
        if let Some(since) = self.due {
            self.gathered += 1;
            return now.saturating_duration_since(since) < LONGEST;
        }
        let is_busy = self.written.is_some_and(|at| now.saturating_duration_since(at) < BUSY);
        if !is_busy {
            return false;
        }
        if self.vain > 0 {
            self.vain -= 1;
            return false;
        }
        self.due = Some(now);
        self.gathered = 1;
        true
    }

    /// What was postponed leaves now.
    pub fn caught_up(&mut self) {
        self.due = None;
        if self.gathered < WORTH {
            self.vain = VAIN;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn busy(now: Instant) -> Pace {
        let mut pace = Pace::default();
        pace.wrote(now);
        pace
    }

    #[test]
    fn nothing_waits_where_little_is_written() {
        let now = Instant::now();
        assert!(!Pace::default().postpones(now));
        assert!(!busy(now).postpones(now + BUSY));
    }

    #[test]
    fn writes_of_a_busy_connection_wait_for_one_another_but_not_for_long() {
        let now = Instant::now();
        let mut pace = busy(now);
        assert!(pace.postpones(now));
        assert!(pace.postpones(now + LONGEST / 2));
        assert!(!pace.postpones(now + LONGEST));
        pace.caught_up();
        pace.wrote(now + LONGEST);
        assert!(pace.postpones(now + LONGEST));
    }

    #[test]
    fn after_a_wait_in_vain_some_do_not_wait() {
        let now = Instant::now();
        let mut pace = busy(now);
        assert!(pace.postpones(now));
        pace.caught_up();
        assert_eq!((0..10).take_while(|_| !pace.postpones(now)).count(), VAIN as usize);
    }
}
