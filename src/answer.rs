//! A question to a loop, and the thread that waits for the answer.
//!
//! Both ends share one state behind a lock, so each question has exactly one
//! outcome: the loop answers it, the loop drops it, or the thread stops
//! waiting. If the thread stops waiting before the loop has begun the question,
//! it is never begun.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Creates the two ends of a question.
pub(crate) fn question<R>() -> (Question<R>, Answer<R>) {
    let shared = Arc::new(Shared {
        state: Mutex::new(QuestionState::Asked),
        changed: Condvar::new(),
    });
    (Question(Arc::clone(&shared)), Answer(shared))
}

struct Shared<R> {
    state: Mutex<QuestionState<R>>,
    changed: Condvar,
}

enum QuestionState<R> {
    Asked,
    Begun,
    Answered(R),
    /// The loop dropped the question.
    Dropped,
    /// The thread no longer waits.
    Abandoned,
}

impl<R> Shared<R> {
    fn lock(&self) -> MutexGuard<'_, QuestionState<R>> {
        // Each change is one assignment, so a panic cannot leave the state
        // inconsistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end of the loop. Dropping it without an answer ends the wait of the
/// thread.
pub(crate) struct Question<R>(Arc<Shared<R>>);

impl<R> Question<R> {
    /// Marks the question as begun. Returns false if the thread no longer
    /// waits.
    pub(crate) fn begin(&self) -> bool {
        let mut state = self.0.lock();
        let is_waiting = matches!(*state, QuestionState::Asked);
        if is_waiting {
            *state = QuestionState::Begun;
        }
        is_waiting
    }

    /// Answers the question.
    ///
    /// # Errors
    ///
    /// Returns the answer if the thread no longer waits.
    pub(crate) fn answer(self, answer: R) -> Result<(), R> {
        let mut state = self.0.lock();
        if let QuestionState::Abandoned = *state {
            return Err(answer);
        }
        *state = QuestionState::Answered(answer);
        drop(state);
        self.0.changed.notify_one();
        Ok(())
    }

    /// Answers the question with the result of `attempt`, unless the thread no
    /// longer waits or there is no result. Returns whether the question is
    /// settled.
    ///
    /// The state is locked during the attempt, so the thread cannot stop
    /// waiting in between. Therefore the attempt has no effect for a thread
    /// that has reported a timeout.
    pub(crate) fn attempt(&self, attempt: impl FnOnce() -> Option<R>) -> bool {
        let mut state = self.0.lock();
        if let QuestionState::Abandoned = *state {
            return true;
        }
        let Some(answer) = attempt() else {
            return false;
        };
        *state = QuestionState::Answered(answer);
        drop(state);
        self.0.changed.notify_one();
        true
    }

    /// Returns whether the thread no longer waits.
    pub(crate) fn is_abandoned(&self) -> bool {
        matches!(*self.0.lock(), QuestionState::Abandoned)
    }
}

impl<R> Drop for Question<R> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        if let QuestionState::Asked | QuestionState::Begun = *state {
            *state = QuestionState::Dropped;
            drop(state);
            self.0.changed.notify_one();
        }
    }
}

impl<R> fmt::Debug for Question<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question").finish_non_exhaustive()
    }
}

/// The end of the waiting thread.
pub(crate) struct Answer<R>(Arc<Shared<R>>);

/// The reason for a missing answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unanswered {
    /// The loop has stopped, or has dropped the question.
    Dropped,
    /// The deadline passed before the question was begun. It is never begun.
    NotBegun,
    /// The deadline passed after the question was begun.
    NotFinished,
}

impl<R> Answer<R> {
    /// Waits for the answer until `deadline`, or without limit if it is `None`.
    pub(crate) fn wait(self, deadline: Option<Instant>) -> Result<R, Unanswered> {
        let mut state = self.0.lock();
        while let QuestionState::Asked | QuestionState::Begun = *state {
            let changed = &self.0.changed;
            state = match deadline {
                None => changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        break;
                    }
                    let waited = changed.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        match std::mem::replace(&mut *state, QuestionState::Abandoned) {
            QuestionState::Answered(answer) => Ok(answer),
            QuestionState::Dropped => Err(Unanswered::Dropped),
            QuestionState::Begun => Err(Unanswered::NotFinished),
            QuestionState::Asked | QuestionState::Abandoned => Err(Unanswered::NotBegun),
        }
    }

    /// Returns the answer if the question is settled. Does not wait.
    #[cfg(any(test, target_pointer_width = "64"))]
    pub(crate) fn take(&self) -> Option<Result<R, Unanswered>> {
        let mut state = self.0.lock();
        if let QuestionState::Asked | QuestionState::Begun = *state {
            return None;
        }
        Some(
            match std::mem::replace(&mut *state, QuestionState::Abandoned) {
                QuestionState::Answered(answer) => Ok(answer),
                _ => Err(Unanswered::Dropped),
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::*;

    const SOON: Duration = Duration::from_millis(20);

    fn soon() -> Option<Instant> {
        Some(Instant::now() + SOON)
    }

    #[test]
    fn answer_ends_the_wait() {
        let (question, answer) = question();
        let waiting = thread::spawn(move || answer.wait(None));
        assert!(question.begin());
        assert_eq!(question.answer(7), Ok(()));
        assert_eq!(waiting.join().unwrap(), Ok(7));
    }

    #[test]
    fn abandoned_question_is_never_begun() {
        let (question, answer) = question::<u8>();
        assert_eq!(answer.wait(soon()), Err(Unanswered::NotBegun));
        assert!(!question.begin() && question.is_abandoned());
        assert!(question.attempt(|| unreachable!("the question is abandoned")));
    }

    #[test]
    fn late_answer_is_returned() {
        let (question, answer) = question();
        assert!(question.begin());
        assert_eq!(answer.wait(soon()), Err(Unanswered::NotFinished));
        assert_eq!(question.answer(7), Err(7));
    }

    #[test]
    fn dropped_question_ends_the_wait() {
        for begun in [false, true] {
            let (question, answer) = question::<u8>();
            let waiting = thread::spawn(move || answer.wait(None));
            assert!(!begun || question.begin());
            drop(question);
            assert_eq!(waiting.join().unwrap(), Err(Unanswered::Dropped));
        }
    }

    #[test]
    fn failed_attempt_leaves_question_open() {
        let (question, answer) = question();
        assert!(!question.attempt(|| None));
        assert_eq!(answer.take(), None);
        assert!(question.attempt(|| Some(7)));
        assert_eq!(answer.take(), Some(Ok(7)));
    }
}
