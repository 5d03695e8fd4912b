//! Forward passes that stop at every stage. Several can be compared side by side, and each keeps in memory only what it
//! needs to continue.

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

use crate::{CompareError, Engine, EngineError, Window, engine::Probe};

/// A side of a comparison.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Side {
    Reference,
    Candidate,
}

/// One forward pass on its own thread. It waits at each stage for the value to continue with.
///
/// Dropping it ends the pass at the next stage, so no thread is left waiting.
pub(crate) struct Run {
    shown: Receiver<Shown>,
    replies: SyncSender<Reply>,
    ended: Receiver<Result<ArrayD<f64>, CompareError>>,
    pending: Option<Shown>,
    output: Option<ArrayD<f64>>,
}

/// One stage of a pass.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    /// The output, widened to f64. It may be taken.
    pub(crate) value: ArrayD<f64>,
}

/// The value that a pass continues with in place of its own output.
type Reply = Option<Arc<ArrayD<f32>>>;

impl Side {
    /// The result of a pass, from that of its thread.
    fn result(
        self,
        ended: Result<Result<ArrayD<f64>, EngineError>, Payload>,
    ) -> Result<ArrayD<f64>, CompareError> {
        let (side, failed): (_, fn(_) -> _) = match self {
            Self::Reference => ("reference", CompareError::Reference),
            Self::Candidate => ("candidate", CompareError::Candidate),
        };
        match ended {
            Ok(result) => result.map_err(failed),
            Err(payload) => Err(CompareError::Panicked {
                side,
                message: panic_text(payload.as_ref()),
            }),
        }
    }
}

impl Run {
    /// Starts `engine` on `window`; its errors are those of `side`.
    pub(crate) fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        side: Side,
        engine: &'scope dyn Engine,
        window: &'scope Window,
    ) -> Self {
        Self::of(scope, side, |probe| engine.run(window, probe))
    }

    /// Starts `forward` with the probe that stops it at each stage.
    fn of<'scope>(
        scope: &'scope Scope<'scope, '_>,
        side: Side,
        forward: impl FnOnce(&mut Probe<'_>) -> Result<ArrayD<f64>, EngineError> + Send + 'scope,
    ) -> Self {
        // Nothing is buffered: a pass computes at most one stage ahead.
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
                show.send(shown).map_err(|_| Abandoned)?;
                Ok(reply.recv().map_err(|_| Abandoned)?)
            };
            let result = catch_unwind(AssertUnwindSafe(|| forward(&mut stop)));
            // The receiver is gone where the comparison was abandoned.
            let _ = end.send(side.result(result));
        });
        Self {
            shown,
            replies,
            ended,
            pending: None,
            output: None,
        }
    }

    /// The output that a pass returned, once it has ended.
    pub(crate) fn output(self) -> Option<ArrayD<f64>> {
        self.output
    }

    /// The stage at which the pass waits; none once it has ended.
    pub(crate) fn at(&mut self) -> Result<Option<&mut Shown>, CompareError> {
        if self.pending.is_none() {
            match self.shown.recv() {
                Ok(shown) => self.pending = Some(shown),
                // The probe is gone, so the pass has ended. A second call after a good end gets the same answer.
                Err(_) => {
                    if let Ok(ended) = self.ended.recv() {
                        self.output = Some(ended?);
                    }
                }
            }
        }
        Ok(self.pending.as_mut())
    }

    /// Continues with the pass's own output. Does nothing where it does not wait.
    pub(crate) fn go_on(&mut self) {
        self.reply(None);
    }

    /// Continues with `value`, rounded to the dtype of the pass, in place of its own output. Returns false, and continues
    /// with its own output, where the shapes differ.
    pub(crate) fn go_on_with(&mut self, value: &Arc<ArrayD<f32>>) -> bool {
        let same = |shown: &Shown| shown.shape == value.shape();
        let replaced = self.pending.as_ref().is_some_and(same);
        self.reply(replaced.then(|| Arc::clone(value)));
        replaced
    }

    fn reply(&mut self, reply: Reply) {
        if self.pending.take().is_some() {
            // A pass that has failed reports it at the next call of `at`.
            let _ = self.replies.send(reply);
        }
    }
}

type Payload = Box<dyn Any + Send>;

fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a message".to_owned())
}

/// Ends a pass whose [`Run`] was dropped.
#[derive(Debug, thiserror::Error)]
#[error("the comparison was abandoned")]
struct Abandoned;

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// A network of three stages that count up from 1.
    fn counts(probe: &mut Probe<'_>) -> Result<ArrayD<f64>, EngineError> {
        let mut x = ArrayD::from_elem(vec![1], 1.0);
        for name in ["a", "b", "c"] {
            if let Some(with) = probe(name, x.clone())? {
                x = with.mapv(f64::from);
            }
            x += 1.0;
        }
        Ok(x)
    }

    fn at(run: &mut Run) -> Option<(String, f64)> {
        let shown = run.at().unwrap();
        shown.map(|shown| (shown.name.clone(), shown.value[[0]]))
    }

    #[test]
    fn a_pass_goes_on_with_the_value_that_it_gets() {
        thread::scope(|scope| {
            let mut run = Run::of(scope, Side::Candidate, counts);
            assert_eq!(at(&mut run), Some(("a".to_owned(), 1.0)));
            run.go_on();
            assert_eq!(at(&mut run), Some(("b".to_owned(), 2.0)));
            assert_eq!(
                at(&mut run),
                Some(("b".to_owned(), 2.0)),
                "a second call changes nothing"
            );
            assert!(run.go_on_with(&Arc::new(ArrayD::from_elem(vec![1], 41.0))));
            assert_eq!(at(&mut run), Some(("c".to_owned(), 42.0)));
            let other_shape = Arc::new(ArrayD::from_elem(vec![2], 0.0));
            assert!(!run.go_on_with(&other_shape));
            assert_eq!(at(&mut run), None);
            assert_eq!(at(&mut run), None);
            assert_eq!(run.output(), Some(ArrayD::from_elem(vec![1], 43.0)));
        });
    }

    #[test]
    #[expect(clippy::unnecessary_literal_unwrap, reason = "it has to panic")]
    fn a_pass_that_fails_or_panics_reports_it_and_no_thread_waits_for_ever() {
        thread::scope(|scope| {
            let mut fails = Run::of(scope, Side::Candidate, |probe| {
                counts(probe)?;
                Err("no memory".into())
            });
            let mut panics = Run::of(scope, Side::Candidate, |probe| {
                counts(probe)?;
                Err("odd").expect("a panic")
            });
            for _ in 0..3 {
                assert!(at(&mut fails).is_some() && at(&mut panics).is_some());
                fails.go_on();
                panics.go_on();
            }
            assert!(matches!(fails.at(), Err(CompareError::Candidate(_))));
            let panic = panics.at().map(|_| ()).unwrap_err();
            assert!(
                matches!(panic, CompareError::Panicked { message, .. } if message.contains("odd"))
            );
            // This one is abandoned at its first stage; the scope still ends.
            let mut abandoned = Run::of(scope, Side::Candidate, counts);
            assert!(at(&mut abandoned).is_some());
        });
    }
}
