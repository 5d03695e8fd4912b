//! Forward passes that stop at every stage, so that several can be looked at side by side while no more of
//! each is in memory than it needs to go on.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::Scope,
};

use ndarray::ArrayD;

use crate::{Engine, EngineError, Window, engine::Probe};

/// One forward pass on a thread of its own. It waits at each stage until it is told what to go on with.
///
/// Dropping it ends the pass at the next stage: whoever gives up half-way leaves no thread waiting.
pub(crate) struct Run {
    shown: Receiver<Shown>,
    replies: SyncSender<Reply>,
    ended: Receiver<Result<(), RunError>>,
    pending: Option<Shown>,
}

/// Why a pass ended before its last stage.
#[derive(Debug)]
pub(crate) enum RunError {
    /// The network failed.
    Failed(EngineError),
    /// It panicked.
    Panicked(String),
}

/// One stage of a pass.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    /// The output, widened; whoever looks may take it.
    pub(crate) value: ArrayD<f64>,
}

/// What a pass goes on with: its own output, or another.
type Reply = Option<Arc<ArrayD<f32>>>;

impl Run {
    /// Starts `engine` on `window`.
    pub(crate) fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        engine: &'scope dyn Engine,
        window: &'scope Window,
    ) -> Self {
        Self::of(scope, |probe| engine.run(window, probe))
    }

    /// Starts `forward`, which gets the probe that stops it.
    fn of<'scope>(
        scope: &'scope Scope<'scope, '_>,
        forward: impl FnOnce(&mut Probe<'_>) -> Result<(), EngineError> + Send + 'scope,
    ) -> Self {
        // Nothing is buffered: a pass computes one stage ahead of us and no further.
        let (show, shown) = sync_channel(0);
        let (replies, reply) = sync_channel(1);
        let (end, ended) = sync_channel(1);
        scope.spawn(move || {
            let mut stop = |name: &str, value: ArrayD<f64>| {
                let shown = Shown {
                    name: name.to_owned(),
                    shape: value.shape().to_vec(),
                    value,
                };
                show.send(shown).map_err(|_| GivenUp)?;
                Ok(reply.recv().map_err(|_| GivenUp)?)
            };
            let result = match catch_unwind(AssertUnwindSafe(|| forward(&mut stop))) {
                Ok(result) => result.map_err(RunError::Failed),
                Err(payload) => Err(RunError::Panicked(words(payload.as_ref()))),
            };
            // Nobody listens any more where the comparison was given up.
            let _ = end.send(result);
        });
        Self {
            shown,
            replies,
            ended,
            pending: None,
        }
    }

    /// The stage at which it waits; none once it has ended.
    pub(crate) fn at(&mut self) -> Result<Option<&mut Shown>, RunError> {
        if self.pending.is_none() {
            match self.shown.recv() {
                Ok(shown) => self.pending = Some(shown),
                // Its probe is gone, so it has ended. Whoever asks again hears the same of a good end.
                Err(_) => self.ended.recv().unwrap_or(Ok(()))?,
            }
        }
        Ok(self.pending.as_mut())
    }

    /// Sends it on with its own output. No-op where it does not wait.
    pub(crate) fn go_on(&mut self) {
        self.answer(None);
    }

    /// Sends it on with `value`, rounded to its dtype, in place of its own output of the same shape. With
    /// its own where the shapes differ: it could not go on with another. Whether it was replaced.
    pub(crate) fn go_on_with(&mut self, value: &Arc<ArrayD<f32>>) -> bool {
        let same = |shown: &Shown| shown.shape == value.shape();
        let replaced = self.pending.as_ref().is_some_and(same);
        self.answer(match replaced {
            true => Some(Arc::clone(value)),
            false => None,
        });
        replaced
    }

    fn answer(&mut self, reply: Reply) {
        if self.pending.take().is_some() {
            // A pass that is gone says why at the next question.
            let _ = self.replies.send(reply);
        }
    }
}

/// The text of a panic.
fn words(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a word".to_owned())
}

/// Nobody waits for the pass any more.
#[derive(Debug, thiserror::Error)]
#[error("the comparison was given up")]
struct GivenUp;

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// A network of three stages that count up from 1.
    fn counts(probe: &mut Probe<'_>) -> Result<(), EngineError> {
        let mut x = ArrayD::from_elem(vec![1], 1.0);
        for name in ["a", "b", "c"] {
            if let Some(with) = probe(name, x.clone())? {
                x = with.mapv(f64::from);
            }
            x += 1.0;
        }
        Ok(())
    }

    fn at(run: &mut Run) -> Option<(String, f64)> {
        let shown = run.at().unwrap();
        shown.map(|shown| (shown.name.clone(), shown.value[[0]]))
    }

    #[test]
    fn a_pass_goes_on_with_what_it_is_told() {
        thread::scope(|scope| {
            let mut run = Run::of(scope, counts);
            assert_eq!(at(&mut run), Some(("a".to_owned(), 1.0)));
            run.go_on();
            assert_eq!(at(&mut run), Some(("b".to_owned(), 2.0)));
            assert_eq!(
                at(&mut run),
                Some(("b".to_owned(), 2.0)),
                "asking changes nothing"
            );
            assert!(run.go_on_with(&Arc::new(ArrayD::from_elem(vec![1], 41.0))));
            assert_eq!(at(&mut run), Some(("c".to_owned(), 42.0)));
            let other_shape = Arc::new(ArrayD::from_elem(vec![2], 0.0));
            assert!(!run.go_on_with(&other_shape));
            assert_eq!(at(&mut run), None);
            assert_eq!(at(&mut run), None);
        });
    }

    #[test]
    #[expect(clippy::unnecessary_literal_unwrap, reason = "it has to panic")]
    fn a_pass_that_fails_or_panics_says_so_and_nobody_waits_for_ever() {
        thread::scope(|scope| {
            let mut fails = Run::of(scope, |probe| {
                counts(probe)?;
                Err("no memory".into())
            });
            let mut panics = Run::of(scope, |probe| {
                counts(probe)?;
                Err("odd").expect("a panic")
            });
            for _ in 0..3 {
                assert!(at(&mut fails).is_some() && at(&mut panics).is_some());
                fails.go_on();
                panics.go_on();
            }
            assert!(matches!(fails.at(), Err(RunError::Failed(_))));
            let panic = panics.at().map(|_| ()).unwrap_err();
            assert!(matches!(panic, RunError::Panicked(text) if text.contains("odd")));
            // This one is given up at its first stage; the scope ends all the same.
            let mut given_up = Run::of(scope, counts);
            assert!(at(&mut given_up).is_some());
        });
    }
}
