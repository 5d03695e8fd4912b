//! Both sides of a comparison, and the model.

use std::{mem, path::Path};

use anyhow::{Context, bail, ensure};
use soundalike_compare::{
    About, ActivationTrace, Audit, Budget, Candidate, CompareError, Decode, EngineInfo,
    Explanation, Meaning, Provenance, Reading, Reference, ReferenceTrace, Report, Running, Window,
    compare,
};
use soundalike_convert::Bundle;
use soundalike_model::{DeviceError, Engine, Kernels};
use soundalike_selftest::{CandleEngine, Decoding, Diagnostician, Fault};

use super::{
    Request, masks,
    model::{Model, WhichNetwork},
    production,
    side::{CandidateSide, EngineChoice, ReferenceSide},
    truth::embedded,
};
use crate::commands::named_model;

/// The reference, its windows and its model. Two traces need no model: there may be none.
pub(super) struct Subject {
    name: String,
    model: Option<Model>,
    reference: Box<dyn Reference>,
    /// The second reading of the model's file, with `--reference official`.
    reading: Option<Reading>,
    windows: Vec<Window>,
}

impl Subject {
    pub(super) fn find(request: &Request<'_>) -> anyhow::Result<Self> {
        if let Some(ReferenceSide::Trace(path)) = &request.reference {
            return Self::of_trace(path, request);
        }
        let model = request.args.subject.model()?;
        let built_in = match request.reference {
            None => embedded(&model)?.filter(|_| request.is_plain()),
            Some(_) => None,
        };
        match built_in {
            Some((reference, window)) => Ok(Self {
                name: model.name.clone(),
                model: Some(model),
                reference,
                reading: None,
                windows: vec![window],
            }),
            None => Self::live(request, model),
        }
    }

    fn live(request: &Request<'_>, model: Model) -> anyhow::Result<Self> {
        let (subject, choices) = (&request.args.subject, &request.args.masks);
        ensure!(
            choices.is_empty() || model.is_embedding(),
            "--masks is for embeddings, and {} computes none; omit it",
            model.name
        );
        let (engine, reading) = subject.engine(&model, request.args.dtype.into())?;
        let windows = masks::each(subject.windows(&model)?, choices, &model)?;
        Ok(Self {
            name: model.name.clone(),
            model: Some(model),
            reference: Box::new(engine),
            reading,
            windows,
        })
    }

    /// A trace as the reference. Its model is that of `--model`, or the embedded one if the trace is of that, or if the
    /// candidate is an engine.
    fn of_trace(path: &Path, request: &Request<'_>) -> anyhow::Result<Self> {
        let mut trace = ReferenceTrace::open(path)?;
        let captured = trace.manifest().model.clone();
        let origin = captured.as_ref().map(|model| model.origin());
        let model = match &request.args.subject.model {
            Some(_) => Some(request.args.subject.model()?),
            None => {
                let embedded = Model::load(None, WhichNetwork::Segmentation)?;
                let same = origin == Some(&*embedded.bundle.source().sha256);
                let needed = !matches!(request.candidate, CandidateSide::Trace(_));
                (same || needed).then_some(embedded)
            }
        };
        if let (Some(model), Some(origin)) = (&model, origin) {
            check_model(origin, &model.bundle)?;
        }
        let window = trace.window()?;
        let named = captured.as_ref().map(|model| model.name.clone());
        Ok(Self {
            name: match &model {
                Some(model) => model.name.clone(),
                None => named.unwrap_or_else(|| window.uri.clone()),
            },
            model,
            reference: Box::new(trace),
            reading: None,
            windows: vec![window],
        })
    }

    /// Whether only the trace describes the network.
    pub(super) fn is_foreign(&self) -> bool {
        self.model.is_none()
    }

    /// Compares the candidate of `request` with the reference.
    pub(super) fn compare(mut self, request: &Request<'_>) -> anyhow::Result<Report> {
        if let Some(window) = self.windows.first() {
            let graph = self.reference.graph(window)?;
            let names = graph.stages().iter().map(|stage| stage.name.clone());
            request.names.check(&names.collect::<Vec<_>>())?;
        }
        let bundle = self.model.as_ref().map(|model| &model.bundle);
        let other = match (&request.args.candidate_model, bundle) {
            (Some(path), Some(bundle)) => Some(other_weights(path, bundle)?),
            _ => None,
        };
        let (candidate, engine, found) = match &request.candidate {
            CandidateSide::Trace(path) => {
                let mut trace = self.activations(path, request)?;
                let found = (mem::take(&mut trace.matched), mem::take(&mut trace.unused));
                let engine = trace.engine();
                (Candidate::Activations(Box::new(trace)), engine, Some(found))
            }
            CandidateSide::Engine(choice) => {
                let (candidate, engine) = self.engine(choice, request, other.as_ref())?;
                (candidate, engine, None)
            }
        };
        let bundle = self.model.as_ref().map(|model| &model.bundle);
        let about = About {
            model: self.name.clone(),
            reference: self.reference.name(),
            candidate: request.candidate_name(),
            provenance: Provenance::here(super::command_line(), self.reference.engine(), engine),
        };
        let decoding = bundle.map(Decoding::new);
        let decode: &dyn Decode = match &decoding {
            Some(decoding) => decoding,
            None => &Meaning::Unknown,
        };
        let reference = self.reference.as_mut();
        let mut report = compare(reference, &candidate, &self.windows, decode, about)?;
        if let Some((matched, unused)) = found {
            report.set_matched(matched, unused);
        }
        if let (Some(model), CandidateSide::Engine(choice), None) =
            (&self.model, &request.candidate, &request.args.inject)
        {
            let bundle = other.as_ref().unwrap_or(&model.bundle);
            let engine = engine_of(choice, request)?;
            let checks = production::check(model, bundle, &engine, request, &report)?;
            report.production.extend(checks);
        }
        if let Some(bundle) = bundle {
            if !report.source.is_empty() {
                let diagnostician = Diagnostician::new(bundle);
                let windows = &self.windows;
                let mut found = diagnostician.diagnose(reference, &candidate, windows, &report)?;
                if let Explanation::Fused(_) = found {
                    let exposed = exposed(other.as_ref().unwrap_or(bundle), request)?;
                    found = diagnostician.diagnose_by(
                        reference,
                        (EXPOSED, &exposed),
                        windows,
                        decode,
                        &report,
                    )?;
                }
                match found {
                    Explanation::Known(diagnosis) => report.diagnosis = Some(diagnosis),
                    Explanation::Unknown(undiagnosed) | Explanation::Fused(undiagnosed) => {
                        report.undiagnosed = Some(undiagnosed);
                    }
                }
            }
            report.audit = Some(Audit {
                reading: self.reading,
                ..Audit::new(bundle, other.as_ref())
            });
        }
        if request.args.budget {
            report.budget = Some(Budget::measure(reference, &candidate, &self.windows)?);
        }
        Ok(report)
    }

    /// One of our engines as the candidate. `other` has its own weights.
    fn engine(
        &self,
        choice: &EngineChoice,
        request: &Request<'_>,
        other: Option<&Bundle>,
    ) -> anyhow::Result<(Candidate, EngineInfo)> {
        let bundle = other.or(self.model.as_ref().map(|model| &model.bundle));
        let bundle = bundle.context("no model to run; give one with --model")?;
        let engine = engine_of(choice, request)?;
        let network = CandleEngine::load(bundle, &engine)?;
        let info = network.info(&request.candidate.to_string(), bundle);
        let candidate = match &request.args.inject {
            None => Candidate::Engine(Box::new(network)),
            Some(id) => fault(id, bundle)?.candidate(bundle, engine.dtype)?,
        };
        Ok((candidate, info))
    }

    /// The trace at `path` as the candidate.
    fn activations(
        &mut self,
        path: &Path,
        request: &Request<'_>,
    ) -> anyhow::Result<ActivationTrace> {
        let [window] = &self.windows[..] else {
            let windows = self.windows.len();
            bail!("a trace has one window, found {windows}; choose one recording and --windows 1");
        };
        let reference = self.reference.as_mut();
        let trace = ActivationTrace::aligned(
            path,
            &request.names,
            reference,
            window,
            Running::Free,
            false,
        )?;
        let manifest = trace.manifest.as_ref();
        let captured = manifest.and_then(|manifest| manifest.model.as_ref());
        if let (Some(captured), Some(model)) = (captured, &self.model) {
            check_model(captured.origin(), &model.bundle)?;
        }
        trace.check_window(window)?;
        Ok(trace)
    }
}

/// The engine that fuses no stages.
const EXPOSED: &str = "candle-cpu-portable";

/// The network of `bundle` with every stage exposed.
fn exposed(bundle: &Bundle, request: &Request<'_>) -> anyhow::Result<Candidate> {
    let engine = Engine {
        dtype: request.args.dtype.into(),
        kernels: Kernels::Portable,
        ..Engine::default()
    };
    let network = CandleEngine::load(bundle, &engine)?;
    Ok(Candidate::Engine(Box::new(network)))
}

fn engine_of(choice: &EngineChoice, request: &Request<'_>) -> Result<Engine, DeviceError> {
    Ok(Engine {
        dtype: request.args.dtype.into(),
        device: choice.device.open()?,
        kernels: choice.kernels,
    })
}

/// Refuses a trace of other weights than those of `bundle`.
fn check_model(found: &str, bundle: &Bundle) -> Result<(), CompareError> {
    let expected = &bundle.source().sha256;
    if found == expected {
        return Ok(());
    }
    Err(CompareError::OtherModel {
        trace: found.to_owned(),
        model: expected.clone(),
    })
}

/// The fault `id` of the network in `bundle`.
fn fault(id: &str, bundle: &Bundle) -> anyhow::Result<Fault> {
    let graph = bundle.architecture().graph(true).unwrap_or_default();
    let mut faults = Fault::catalogue(&graph).into_iter();
    let found = faults.find(|fault| fault.id == id);
    found.with_context(|| {
        format!("--inject {id}: unknown fault; `soundalike self-test` lists all faults")
    })
}

fn other_weights(path: &Path, bundle: &Bundle) -> anyhow::Result<Bundle> {
    let other = named_model::network(path)?;
    let (found, expected) = (other.architecture(), bundle.architecture());
    ensure!(
        found.name() == expected.name(),
        "{}: is a {}, expected a {} like the reference",
        path.display(),
        found.name(),
        expected.name()
    );
    Ok(other)
}
